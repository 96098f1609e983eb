-- The queue of battle jobs: claim one, write its end, try it again later, give it up.

-- Takes the oldest queued job that is due. Model and key come from the contender's own configuration, or
-- else the battle's. Nothing is claimed while the system's kill switch is on.
CREATE FUNCTION battles.fn_claim_battle_execution_job(p_worker_id text)
RETURNS TABLE (
    job_id uuid, battle_id uuid, contender_id uuid, slot text, task_prompt text, provider_key text,
    model_key text, byok_key_ref_id uuid, lens_id uuid, version_id uuid, max_tokens integer,
    temperature numeric, retry_count integer, ai_lenser_id uuid, personality_note text,
    personality_version_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    claimed_id uuid;
BEGIN
    IF public.fn_kill_switch_active('system') THEN
        RETURN;
    END IF;
    UPDATE battles.battle_execution_jobs AS job
    SET status = 'claimed', worker_id = p_worker_id, claimed_at = now()
    WHERE job.id = (
        SELECT waiting.id
        FROM battles.battle_execution_jobs AS waiting
        WHERE waiting.status = 'queued' AND (waiting.claimed_at IS NULL OR waiting.claimed_at <= now())
        ORDER BY waiting.created_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING job.id INTO claimed_id;

    RETURN QUERY
    SELECT job.id, job.battle_id, job.contender_id, job.slot, battle.task_prompt,
           coalesce(config.provider_key, ''), coalesce(config.model_key, ''), config.byok_key_ref_id,
           assignment.lens_id, assignment.version_id, coalesce(config.max_tokens, 4096),
           coalesce(config.temperature, 0.7), job.retry_count, agent.id, agent.personality_note,
           binding.version_id
    FROM battles.battle_execution_jobs AS job
    JOIN battles.battles AS battle ON battle.id = job.battle_id
    JOIN battles.contenders AS contender ON contender.id = job.contender_id
    LEFT JOIN LATERAL (
        SELECT c.* FROM battles.execution_configs AS c
        WHERE c.battle_id = job.battle_id AND (c.contender_id = job.contender_id OR c.contender_id IS NULL)
        ORDER BY c.contender_id NULLS LAST
        LIMIT 1
    ) AS config ON true
    LEFT JOIN battles.contender_lens_assignments AS assignment ON assignment.contender_id = job.contender_id
    LEFT JOIN agents.ai_lensers AS agent
        ON agent.profile_id = contender.contender_ref_id AND contender.contender_type = 'ai_agent'
    LEFT JOIN LATERAL (
        SELECT b.version_id FROM agents.lens_bindings AS b
        WHERE b.ai_lenser_id = agent.id AND b.is_default AND 'personality' = ANY (b.category_tags)
        LIMIT 1
    ) AS binding ON true
    WHERE job.id = claimed_id;
END
$$;

CREATE FUNCTION public.fn_worker_claim_battle_job(p_worker_id text)
RETURNS TABLE (
    job_id uuid, battle_id uuid, contender_id uuid, slot text, task_prompt text, provider_key text,
    model_key text, byok_key_ref_id text, lens_id uuid, version_id uuid, max_tokens integer,
    temperature numeric, retry_count integer, ai_lenser_id uuid, personality_note text,
    personality_version_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN QUERY
    SELECT j.job_id, j.battle_id, j.contender_id, j.slot, j.task_prompt, j.provider_key, j.model_key,
           j.byok_key_ref_id::text, j.lens_id, j.version_id, j.max_tokens, j.temperature, j.retry_count,
           j.ai_lenser_id, j.personality_note, j.personality_version_id
    FROM battles.fn_claim_battle_execution_job(p_worker_id) AS j;
END
$$;

-- NULL keeps what a submission has; the first time of handing in stays.
CREATE FUNCTION public.fn_worker_upsert_battle_submission(
    p_battle_id uuid,
    p_contender_id uuid,
    p_content_text text DEFAULT NULL,
    p_execution_run_id uuid DEFAULT NULL,
    p_artifact_id uuid DEFAULT NULL,
    p_is_final boolean DEFAULT true,
    p_media_url text DEFAULT NULL,
    p_mime_type text DEFAULT NULL,
    p_output_modality text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    has_content boolean := p_content_text IS NOT NULL OR p_media_url IS NOT NULL;
    new_status battles.submission_status_enum := CASE WHEN has_content THEN 'submitted' ELSE 'pending' END;
BEGIN
    INSERT INTO battles.submissions AS s (
        battle_id, contender_id, status, content_text, content_url, submitted_at, execution_run_id,
        artifact_id, source_type, is_final, media_url, mime_type, output_modality
    )
    VALUES (
        p_battle_id, p_contender_id, new_status, p_content_text, p_media_url,
        CASE WHEN has_content THEN now() END, p_execution_run_id, p_artifact_id, 'execution_output',
        p_is_final,
        p_media_url, p_mime_type,
        coalesce(p_output_modality, CASE WHEN p_content_text IS NOT NULL THEN 'text' END)
    )
    ON CONFLICT (battle_id, contender_id) DO UPDATE
    SET status = excluded.status,
        content_text = coalesce(excluded.content_text, s.content_text),
        content_url = coalesce(excluded.content_url, s.content_url),
        submitted_at = coalesce(s.submitted_at, excluded.submitted_at),
        execution_run_id = coalesce(excluded.execution_run_id, s.execution_run_id),
        artifact_id = coalesce(excluded.artifact_id, s.artifact_id),
        source_type = excluded.source_type,
        is_final = excluded.is_final,
        media_url = coalesce(excluded.media_url, s.media_url),
        mime_type = coalesce(excluded.mime_type, s.mime_type),
        output_modality = coalesce(excluded.output_modality, s.output_modality);
END
$$;

CREATE FUNCTION battles.fn_battles_start_voting_internal(p_battle_id uuid, p_voting_closes_at timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE battles.battles AS battle
    SET status = 'voting', voting_opens_at = now(), voting_closes_at = p_voting_closes_at
    WHERE battle.id = p_battle_id;
    INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id, payload)
    VALUES ('battle.voting_started_internal', 'battles', 'battles', p_battle_id,
            jsonb_build_object('voting_closes_at', p_voting_closes_at));
END
$$;

-- Ends a job, hands its text in if there is one, and opens voting when it was the battle's last. The
-- battle is locked first: of two contenders who finish at once, the second sees the first one's end.
CREATE FUNCTION battles.fn_complete_battle_execution_job(
    p_job_id uuid, p_status text, p_output_text text DEFAULT NULL, p_error text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    job battles.battle_execution_jobs;
    battle battles.battles;
BEGIN
    SELECT b.* INTO battle FROM battles.battles AS b
    WHERE b.id = (SELECT j.battle_id FROM battles.battle_execution_jobs AS j WHERE j.id = p_job_id)
    FOR UPDATE;
    SELECT j.* INTO job FROM battles.battle_execution_jobs AS j WHERE j.id = p_job_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'job not found: %', p_job_id;
    END IF;
    UPDATE battles.battle_execution_jobs AS j
    SET status = p_status, completed_at = now(), error_message = p_error
    WHERE j.id = p_job_id;

    IF p_status = 'completed' AND p_output_text IS NOT NULL THEN
        INSERT INTO battles.submissions (battle_id, contender_id, content_text, status)
        VALUES (job.battle_id, job.contender_id, p_output_text, 'submitted')
        ON CONFLICT (battle_id, contender_id) DO UPDATE
        SET content_text = excluded.content_text, status = excluded.status;
    END IF;
    INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id, payload)
    VALUES ('battle.execution_job_completed', 'battles', 'battle_execution_jobs', p_job_id,
            jsonb_build_object('job_id', p_job_id, 'battle_id', job.battle_id, 'slot', job.slot,
                               'status', p_status));

    PERFORM FROM battles.battle_execution_jobs AS j
    WHERE j.battle_id = job.battle_id AND j.status NOT IN ('completed', 'failed');
    IF NOT FOUND AND battle.status = 'executing' THEN
        PERFORM battles.fn_battles_start_voting_internal(
            battle.id, now() + coalesce(battle.voting_duration_hours, 24) * interval '1 hour');
    END IF;
END
$$;

CREATE FUNCTION public.fn_worker_complete_battle_job(
    p_job_id uuid, p_status text, p_output_text text DEFAULT NULL, p_error text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM battles.fn_complete_battle_execution_job(p_job_id, p_status, p_output_text, p_error);
END
$$;

CREATE FUNCTION battles.fn_requeue_battle_job_with_backoff(
    p_job_id uuid, p_backoff_ms integer, p_error text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE battles.battle_execution_jobs AS job
    SET status = 'queued', worker_id = NULL, claimed_at = now() + p_backoff_ms * interval '1 millisecond',
        retry_count = job.retry_count + 1, error_message = p_error
    WHERE job.id = p_job_id;
END
$$;

-- Gives a job up. Its battle is left as it is: see fn_complete_battle_execution_job.
CREATE FUNCTION battles.fn_move_battle_job_to_dlq(
    p_job_id uuid, p_error_code text DEFAULT NULL, p_error_msg text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    letter_id uuid;
BEGIN
    INSERT INTO battles.battle_execution_dead_letters (
        job_id, battle_id, contender_id, slot, error_code, error_message, attempt_count
    )
    SELECT job.id, job.battle_id, job.contender_id, job.slot, p_error_code, p_error_msg, job.retry_count + 1
    FROM battles.battle_execution_jobs AS job
    WHERE job.id = p_job_id
    RETURNING id INTO letter_id;
    IF letter_id IS NULL THEN
        RAISE EXCEPTION 'job not found: %', p_job_id;
    END IF;
    UPDATE battles.battle_execution_jobs AS job
    SET status = 'failed', error_message = p_error_msg
    WHERE job.id = p_job_id;
    RETURN letter_id;
END
$$;

-- An operator has a job that was given up tried again.
CREATE FUNCTION battles.fn_retry_dead_letter_battle_job(p_dead_letter_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    retried_job_id uuid;
BEGIN
    UPDATE battles.battle_execution_dead_letters AS letter SET resolved_at = now()
    WHERE letter.id = p_dead_letter_id AND letter.resolved_at IS NULL
    RETURNING letter.job_id INTO retried_job_id;
    IF retried_job_id IS NULL THEN
        RAISE EXCEPTION 'dead letter not found or resolved already: %', p_dead_letter_id;
    END IF;
    UPDATE battles.battle_execution_jobs AS job
    SET status = 'queued', worker_id = NULL, claimed_at = NULL, error_message = NULL,
        retry_count = job.retry_count + 1
    WHERE job.id = retried_job_id;
END
$$;

CREATE FUNCTION public.fn_requeue_battle_job_with_backoff(
    p_job_id uuid, p_backoff_ms integer, p_error text DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT battles.fn_requeue_battle_job_with_backoff(p_job_id, p_backoff_ms, p_error)
$$;

CREATE FUNCTION public.fn_worker_requeue_battle_job(
    p_job_id uuid, p_backoff_ms integer, p_error text DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT battles.fn_requeue_battle_job_with_backoff(p_job_id, p_backoff_ms, p_error)
$$;

CREATE FUNCTION public.fn_move_battle_job_to_dlq(
    p_job_id uuid, p_error_code text DEFAULT NULL, p_error_msg text DEFAULT NULL
) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT battles.fn_move_battle_job_to_dlq(p_job_id, p_error_code, p_error_msg)
$$;

CREATE FUNCTION public.fn_worker_battle_job_to_dlq(
    p_job_id uuid, p_error_code text, p_error_msg text DEFAULT NULL
) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT battles.fn_move_battle_job_to_dlq(p_job_id, p_error_code, p_error_msg)
$$;

CREATE FUNCTION public.fn_retry_dead_letter_battle_job(p_dead_letter_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT battles.fn_retry_dead_letter_battle_job(p_dead_letter_id)
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA battles FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA battles TO service_role;

REVOKE ALL ON FUNCTION
    public.fn_worker_claim_battle_job,
    public.fn_worker_upsert_battle_submission,
    public.fn_worker_complete_battle_job,
    public.fn_requeue_battle_job_with_backoff,
    public.fn_worker_requeue_battle_job,
    public.fn_move_battle_job_to_dlq,
    public.fn_worker_battle_job_to_dlq,
    public.fn_retry_dead_letter_battle_job
FROM PUBLIC, anon, authenticated;

GRANT EXECUTE ON FUNCTION
    public.fn_worker_claim_battle_job,
    public.fn_worker_upsert_battle_submission,
    public.fn_worker_complete_battle_job,
    public.fn_requeue_battle_job_with_backoff,
    public.fn_worker_requeue_battle_job,
    public.fn_move_battle_job_to_dlq,
    public.fn_worker_battle_job_to_dlq,
    public.fn_retry_dead_letter_battle_job
TO service_role;
