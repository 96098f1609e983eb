-- Battle jobs: how one is claimed, ended, given up and taken back, and the triggers that write its tickets.

ALTER TABLE worker.claims DROP CONSTRAINT claims_outcome_check;
ALTER TABLE worker.claims ADD CONSTRAINT claims_outcome_check CHECK (outcome IN (
    'succeeded', 'failed', 'poison', 'gone',
    'requeued'  -- put back into the platform's own queue, to be claimed anew
));

-- Shadow: the platform's wrapper declares the key's id as text and returns a uuid, so it always fails.
CREATE FUNCTION worker.fn_worker_claim_battle_job(p_worker_id text)
RETURNS TABLE (
    job_id uuid, battle_id uuid, contender_id uuid, slot text, task_prompt text, provider_key text,
    model_key text, byok_key_ref_id text, lens_id uuid, version_id uuid, max_tokens integer,
    temperature numeric, retry_count integer, ai_lenser_id uuid, personality_note text,
    personality_version_id uuid
)
LANGUAGE sql SET search_path = '' AS $$
    SELECT j.job_id, j.battle_id, j.contender_id, j.slot, j.task_prompt, j.provider_key, j.model_key,
           j.byok_key_ref_id::text, j.lens_id, j.version_id, j.max_tokens, j.temperature, j.retry_count,
           j.ai_lenser_id, j.personality_note, j.personality_version_id
    FROM battles.fn_claim_battle_execution_job(p_worker_id) AS j
$$;

-- Shadow: the platform's function puts a text into the enum column `status`, so it always fails. NULL
-- keeps what a submission has, and the first time of handing in stays.
CREATE FUNCTION worker.fn_worker_upsert_battle_submission(
    p_battle_id uuid, p_contender_id uuid, p_content_text text DEFAULT NULL,
    p_execution_run_id uuid DEFAULT NULL, p_artifact_id uuid DEFAULT NULL, p_is_final boolean DEFAULT true,
    p_media_url text DEFAULT NULL, p_mime_type text DEFAULT NULL, p_output_modality text DEFAULT NULL
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO battles.submissions AS s (
        battle_id, contender_id, status, submitted_at, content_text, content_url, media_url, mime_type,
        output_modality, execution_run_id, artifact_id, source_type, is_final)
    SELECT p_battle_id, p_contender_id,
           (CASE WHEN given.content THEN 'submitted' ELSE 'pending' END)::battles.submission_status_enum,
           CASE WHEN given.content THEN now() END, p_content_text, p_media_url, p_media_url, p_mime_type,
           coalesce(p_output_modality, CASE WHEN p_content_text IS NOT NULL THEN 'text' END),
           p_execution_run_id, p_artifact_id, 'execution_output', p_is_final
    FROM (SELECT p_content_text IS NOT NULL OR p_media_url IS NOT NULL AS content) AS given
    ON CONFLICT (battle_id, contender_id) DO UPDATE
    SET status = excluded.status, is_final = excluded.is_final, source_type = excluded.source_type,
        submitted_at = coalesce(s.submitted_at, excluded.submitted_at),
        content_text = coalesce(excluded.content_text, s.content_text),
        content_url = coalesce(excluded.content_url, s.content_url),
        media_url = coalesce(excluded.media_url, s.media_url),
        mime_type = coalesce(excluded.mime_type, s.mime_type),
        output_modality = coalesce(excluded.output_modality, s.output_modality),
        execution_run_id = coalesce(excluded.execution_run_id, s.execution_run_id),
        artifact_id = coalesce(excluded.artifact_id, s.artifact_id)
$$;

-- The version that an assigned lens answers with: the assigned one, the newest published, or the newest.
CREATE FUNCTION worker.fn_assigned_version(p_lens_id uuid, p_version_id uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(p_version_id, (
        SELECT v.id FROM lenses.versions v WHERE v.lens_id = p_lens_id
        ORDER BY (v.status = 'published') DESC, v.published_at DESC NULLS LAST, v.version_number DESC
        LIMIT 1))
$$;

-- Whose stored key a battle's job may use: its creator's, the contender's own, or the agent's owner's.
CREATE FUNCTION worker.fn_battle_key_owner(p_key_id uuid, p_contender_id uuid, p_creator_id uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce((
        SELECT k.lenser_id FROM ai.keys k JOIN battles.contenders c ON c.id = p_contender_id
        WHERE k.id = p_key_id AND (k.lenser_id = c.contender_ref_id OR k.lenser_id IN (
            SELECT o.owner_lenser_id
            FROM agents.ai_lensers a JOIN agents.ownerships o ON o.ai_lenser_id = a.id
            WHERE a.profile_id = c.contender_ref_id AND o.revoked_at IS NULL))), p_creator_id)
$$;

-- Why nothing may be handed in for a contender any more, as an error code; null when it may.
CREATE FUNCTION worker.fn_battle_problem(p_battle_id uuid, p_contender_id uuid) RETURNS text
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE
        WHEN b.deleted_at IS NOT NULL THEN 'battle.deleted'
        WHEN b.status = 'archived' OR b.archived_at IS NOT NULL THEN 'battle.archived'
        WHEN b.status IN ('scoring', 'closed', 'published') THEN 'battle.closed'
        WHEN c.withdrawn_at IS NOT NULL OR EXISTS (
            SELECT FROM battles.submissions s
            WHERE s.battle_id = b.id AND s.contender_id = c.id AND s.status IN ('withdrawn', 'disqualified'))
            THEN 'battle.contender_withdrawn'
    END
    FROM battles.battles b JOIN battles.contenders c ON c.battle_id = b.id AND c.id = p_contender_id
    WHERE b.id = p_battle_id
$$;

-- Everything that doing a job takes. Model, key and limits are the contender's own, or else the battle's.
CREATE FUNCTION worker.fn_battle_job(p_job_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'job_id', j.id, 'battle_id', j.battle_id, 'contender_id', j.contender_id, 'slot', j.slot,
        'task_prompt', b.task_prompt, 'content_type', b.content_type,
        'inputs', coalesce(b.shared_input_snapshot, '{}') || coalesce(l.input_snapshot, '{}'),
        'lens_id', l.lens_id, 'version_id', worker.fn_assigned_version(l.lens_id, l.version_id),
        'provider_key', coalesce(x.provider_key, ''), 'model_key', coalesce(x.model_key, ''),
        'model_id', x.model_id, 'max_tokens', coalesce(x.max_tokens, 4096),
        'temperature', coalesce(x.temperature, 0.7),
        'funding_source', coalesce(x.funding_source, 'platform_credit'),
        'byok_key_ref_id', x.byok_key_ref_id,
        'key_owner_lenser_id', worker.fn_battle_key_owner(x.byok_key_ref_id, c.id, b.creator_lenser_id),
        'retry_count', j.retry_count, 'max_retries', j.max_retries,
        'personality_note', a.personality_note,
        'personality_version_id', (
            SELECT p.version_id FROM agents.lens_bindings p
            WHERE p.ai_lenser_id = a.id AND p.is_default AND 'personality' = ANY (p.category_tags) LIMIT 1),
        'memory_mode', b.lenser_battle_policy ->> 'memory_mode',
        'owner_lenser_id', b.creator_lenser_id,
        'battle_problem', worker.fn_battle_problem(j.battle_id, j.contender_id))
    FROM battles.battle_execution_jobs j
    JOIN battles.battles b ON b.id = j.battle_id
    JOIN battles.contenders c ON c.id = j.contender_id
    LEFT JOIN battles.contender_lens_assignments l ON l.contender_id = j.contender_id
    LEFT JOIN agents.ai_lensers a ON a.profile_id = c.contender_ref_id AND c.contender_type = 'ai_agent'
    LEFT JOIN LATERAL (
        SELECT e.* FROM battles.execution_configs e
        WHERE e.battle_id = j.battle_id AND (e.contender_id = j.contender_id OR e.contender_id IS NULL)
        ORDER BY e.contender_id NULLS LAST LIMIT 1) AS x ON true
    WHERE j.id = p_job_id
$$;

-- A claimed job, while it is still claimed; else null. The battle is locked before the job: of two
-- contenders who finish at once, the second waits, sees the first one's end and opens voting.
CREATE FUNCTION worker.fn_claimed_battle_job(p_job_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM FROM battles.battles b
    WHERE b.id = (SELECT j.battle_id FROM battles.battle_execution_jobs j WHERE j.id = p_job_id)
    FOR NO KEY UPDATE;
    PERFORM FROM battles.battle_execution_jobs j
    WHERE j.id = p_job_id AND j.status IN ('claimed', 'running') FOR UPDATE;
    RETURN CASE WHEN FOUND THEN worker.fn_battle_job(p_job_id) END;
END $$;

-- Claim the job that a ticket was written for, if it is due; without one, whichever the platform deems next. A
-- claim that an earlier ticket still holds on the job is over: the job was put back behind its back.
CREATE FUNCTION worker.fn_claim_battle_job(p_hint uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_job uuid;
BEGIN
    IF p_hint IS NULL THEN
        SELECT n.job_id INTO v_job FROM fn_worker_claim_battle_job('lf-worker') AS n;
    ELSE
        UPDATE battles.battle_execution_jobs j SET status = 'claimed', worker_id = 'lf-worker', claimed_at = now()
        WHERE j.id = (
            SELECT w.id FROM battles.battle_execution_jobs w
            WHERE w.id = p_hint AND w.status IS NOT DISTINCT FROM 'queued'
              AND (w.claimed_at IS NULL OR w.claimed_at <= now()) AND NOT fn_kill_switch_active('system')
            FOR UPDATE SKIP LOCKED)
        RETURNING j.id INTO v_job;
    END IF;
    UPDATE worker.claims c SET state = 'finished', finished_at = now(), outcome = 'gone'
    WHERE c.kind = 'battle_job' AND c.job = v_job AND c.finished_at IS NULL;
    RETURN worker.fn_battle_job(v_job);
END $$;

-- Who has a job stands in the job's row too.
CREATE FUNCTION worker.fn_sign_battle_job() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE battles.battle_execution_jobs j SET worker_id = NEW.worker_id WHERE j.id = NEW.job;
    RETURN NULL;
END $$;

CREATE TRIGGER sign_battle_job AFTER INSERT OR UPDATE OF worker_id ON worker.claims
    FOR EACH ROW WHEN (NEW.kind = 'battle_job' AND NEW.state = 'running')
    EXECUTE FUNCTION worker.fn_sign_battle_job();

-- Give a job up: a dead letter, and the check for the battle's last job, which the platform's own function
-- leaves out. A battle that is over is left as it is.
CREATE FUNCTION worker.fn_bury_battle_job(p_job_id uuid, p_error_code text, p_error_message text) RETURNS void
LANGUAGE plpgsql SET search_path = worker, public AS $$
BEGIN
    PERFORM fn_move_battle_job_to_dlq(p_job_id, p_error_code, p_error_message);
    PERFORM fn_worker_complete_battle_job(p_job_id, 'failed', NULL, p_error_message)
    FROM battles.battle_execution_jobs j
    WHERE j.id = p_job_id AND coalesce(worker.fn_battle_problem(j.battle_id, j.contender_id), '')
          NOT IN ('battle.deleted', 'battle.archived');
END $$;

-- Take jobs back that others claimed and then fell silent. Ours are known to be alive by their claim, or by
-- the media task that goes on with them; renewing them keeps every other reclaimer off as well.
CREATE FUNCTION worker.fn_reclaim_battle_jobs(p_stale_after_minutes integer) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE battles.battle_execution_jobs j SET claimed_at = now()
    WHERE j.status = 'claimed' AND j.claimed_at < now() - interval '1 minute' AND (
        EXISTS (SELECT FROM worker.claims c
                WHERE c.kind = 'battle_job' AND c.job = j.id AND c.finished_at IS NULL)
        OR EXISTS (SELECT FROM worker.media_tasks t
                   WHERE t.owner_kind = 'battle_job' AND t.job = j.id AND t.ended_at IS NULL));
    RETURN battles.fn_reclaim_stale_battle_jobs(p_stale_after_minutes);
END $$;

-- Have a job that was given up tried again, as the platform's operators do; null where there is nothing to.
CREATE FUNCTION worker.fn_replay_battle_job(p_job_id uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = worker, public AS $$
BEGIN
    PERFORM fn_retry_dead_letter_battle_job(d.id)
    FROM battles.battle_execution_dead_letters d
    JOIN battles.battle_execution_jobs j ON j.id = d.job_id
    WHERE d.job_id = p_job_id AND d.resolved_at IS NULL AND j.status = 'failed'
      AND worker.fn_battle_problem(j.battle_id, j.contender_id) IS NULL
    ORDER BY d.created_at DESC LIMIT 1;
    RETURN nullif(FOUND, false);
END $$;

INSERT INTO worker.kinds (kind, actor, queue, claim_next, is_waiting, reload, id_key, count_claimable, call, replay) VALUES (
    'battle_job', 'execute_battle_job', 'battles',
    'SELECT worker.fn_claim_battle_job($1)',
    'SELECT EXISTS (SELECT FROM battles.battle_execution_jobs j
                    WHERE j.id = $1 AND j.status IS NOT DISTINCT FROM ''queued''
                      AND (j.claimed_at IS NULL OR j.claimed_at <= now()) AND NOT public.fn_kill_switch_active(''system''))',
    'SELECT worker.fn_claimed_battle_job($1)',
    'job_id',
    -- Those not due yet count too: each has its delayed ticket.
    'SELECT count(*) FROM battles.battle_execution_jobs j
     WHERE j.status = ''queued'' AND NOT public.fn_kill_switch_active(''system'')',
    'SELECT j ->> ''provider_key'' AS provider, j ->> ''model_key'' AS model,
            coalesce(j ->> ''byok_key_ref_id'', ''platform'') AS key, b.creator_lenser_id::text AS owner
     FROM worker.fn_battle_job($1) AS j LEFT JOIN battles.battles b ON b.id = (j ->> ''battle_id'')::uuid',
    'SELECT worker.fn_replay_battle_job($1)');

-- The platform's own statement must never fail because of us, hence the catch-all: a lost ticket is found
-- by the sweep within a minute.
CREATE FUNCTION worker.fn_ticket_inserted_battle_jobs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.write_tickets('battle_job', array_agg(i.id ORDER BY i.created_at),
                                 array_agg(b.creator_lenser_id::text ORDER BY i.created_at))
    FROM inserted i LEFT JOIN battles.battles b ON b.id = i.battle_id WHERE i.status = 'queued';
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no ticket for battle jobs: %', SQLERRM;
    RETURN NULL;
END $$;

-- `claimed_at` of a job that goes back into the queue is the time before which it must not be claimed.
CREATE FUNCTION worker.fn_ticket_requeued_battle_job() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.enqueue(
        k.actor, jsonb_build_object('job', NEW.id), k.queue, greatest(now(), NEW.claimed_at)
            + coalesce(nullif(current_setting('worker.ticket_delay_ms', true), ''), '0')::bigint
              * interval '1 millisecond')
    FROM worker.kinds k WHERE k.kind = 'battle_job';
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no ticket for requeued battle job: %', SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_ticket_inserted_battle_jobs AFTER INSERT ON battles.battle_execution_jobs
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION worker.fn_ticket_inserted_battle_jobs();

CREATE TRIGGER lf_worker_ticket_requeued_battle_job AFTER UPDATE OF status ON battles.battle_execution_jobs
    FOR EACH ROW WHEN (NEW.status = 'queued' AND OLD.status IS DISTINCT FROM 'queued')
    EXECUTE FUNCTION worker.fn_ticket_requeued_battle_job();

CREATE VIEW worker.jobs AS
    SELECT j.id, j.battle_id, j.contender_id, j.slot, j.claimed_at AS not_before, j.retry_count,
           j.max_retries, j.error_message, j.created_at
    FROM battles.battle_execution_jobs j WHERE j.status = 'queued';
COMMENT ON VIEW worker.jobs IS 'Battle jobs that wait for a worker; the product calls it battles.jobs.';

REVOKE ALL ON ALL TABLES IN SCHEMA worker, dramatiq FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker, dramatiq FROM PUBLIC;
