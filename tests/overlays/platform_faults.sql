-- The faults of the platform as it is today, over the reference platform, which has them repaired.

-- Completing a run without a billing status writes NULL into a column that forbids it (23502).
CREATE OR REPLACE FUNCTION execution.fn_complete_execution_run(
    p_run_id uuid,
    p_status text,
    p_token_input integer DEFAULT NULL,
    p_token_output integer DEFAULT NULL,
    p_credit_cost bigint DEFAULT NULL,
    p_billing_status text DEFAULT 'free',
    p_response_text text DEFAULT NULL,
    p_response_meta jsonb DEFAULT '{}',
    p_error_code text DEFAULT NULL,
    p_error_message text DEFAULT NULL,
    p_latency_ms integer DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE execution.runs AS run
    SET status = p_status,
        completed_at = now(),
        token_input = coalesce(p_token_input, run.token_input),
        token_output = coalesce(p_token_output, run.token_output),
        credit_cost = coalesce(p_credit_cost, run.credit_cost),
        billing_status = p_billing_status,
        response_text = p_response_text,
        response_meta = coalesce(p_response_meta, run.response_meta),
        error_code = p_error_code,
        error_message = p_error_message,
        latency_ms = coalesce(p_latency_ms, run.latency_ms)
    WHERE run.id = p_run_id;
END
$$;

-- Completing an asynchronous run leaves out columns that a media object must have (23502).
CREATE OR REPLACE FUNCTION execution.fn_complete_async_run(
    p_run_id uuid, p_media_url text, p_mime_type text, p_bytes bigint DEFAULT NULL,
    p_width integer DEFAULT NULL, p_height integer DEFAULT NULL, p_duration_s numeric DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO media.objects (bucket, object_key, external_url, mime_type, media_type, byte_size, lifecycle_state,
                               video_width, video_height, duration_seconds)
    SELECT 'generated-media', 'async/' || p_run_id || '.' || split_part(p_mime_type, '/', 2), p_media_url, p_mime_type,
           split_part(p_mime_type, '/', 1), p_bytes, 'active', p_width, p_height, p_duration_s
    FROM execution.runs AS run WHERE run.id = p_run_id;
END
$$;

-- The wrapper of the battle claim declares the key's id as text and returns a uuid (42804 on every call).
CREATE OR REPLACE FUNCTION public.fn_worker_claim_battle_job(p_worker_id text)
RETURNS TABLE (
    job_id uuid, battle_id uuid, contender_id uuid, slot text, task_prompt text, provider_key text,
    model_key text, byok_key_ref_id text, lens_id uuid, version_id uuid, max_tokens integer,
    temperature numeric, retry_count integer, ai_lenser_id uuid, personality_note text,
    personality_version_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN QUERY SELECT * FROM battles.fn_claim_battle_execution_job(p_worker_id);
END
$$;

-- A submission's status is put into its enum column as text (42804 on every call).
CREATE OR REPLACE FUNCTION public.fn_worker_upsert_battle_submission(
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
    new_status text := 'submitted';
BEGIN
    INSERT INTO battles.submissions (battle_id, contender_id, status, content_text)
    VALUES (p_battle_id, p_contender_id, new_status, p_content_text);
END
$$;

-- Completions look for unfinished jobs without locking the battle: two at once may each see the other's.
CREATE OR REPLACE FUNCTION battles.fn_complete_battle_execution_job(
    p_job_id uuid, p_status text, p_output_text text DEFAULT NULL, p_error text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    job battles.battle_execution_jobs;
    battle battles.battles;
BEGIN
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
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT b.* INTO battle FROM battles.battles AS b WHERE b.id = job.battle_id;
    IF battle.status = 'executing' THEN
        PERFORM battles.fn_battles_start_voting_internal(
            battle.id, now() + coalesce(battle.voting_duration_hours, 24) * interval '1 hour');
    END IF;
END
$$;

-- A contender's key is only looked at for a signed-in user, so a draft is never ready for a worker.
CREATE OR REPLACE FUNCTION public.fn_byok_validate_for_battle(p_battle_id uuid, p_contender_id uuid)
RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT CASE WHEN auth.uid() IS NULL THEN 'authentication_required' END
$$;

-- A promotion is audited in columns that the audit log doesn't have (42703), which undoes it.
CREATE OR REPLACE FUNCTION public.fn_battles_auto_promote(p_battle_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NOT (public.fn_battles_check_readiness(p_battle_id) ->> 'ready')::boolean THEN
        RETURN false;
    END IF;
    UPDATE battles.battles AS battle SET status = 'open' WHERE battle.id = p_battle_id AND battle.status = 'draft';
    INSERT INTO audit.events (actor_id, event_type, resource_type, resource_id, meta)
    VALUES (NULL, 'battle.auto_promoted', 'battle', p_battle_id, '{}');
    RETURN true;
END
$$;

-- Telling a battle's subscribers writes columns that the outbox lacks (42703), in the battle's own statement.
CREATE OR REPLACE FUNCTION public.fn_battles_notify_webhooks(p_battle_id uuid, p_event_type text, p_payload jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_subscription_id uuid;
BEGIN
    FOR v_subscription_id IN
        SELECT subscription.id FROM battles.battle_event_subscriptions AS subscription
        WHERE subscription.battle_id = p_battle_id AND subscription.revoked_at IS NULL
          AND p_event_type = ANY (subscription.event_types)
    LOOP
        INSERT INTO audit.webhook_outbox (subscription_id, battle_id, event_type, payload)
        VALUES (v_subscription_id, p_battle_id, p_event_type, p_payload);
    END LOOP;
END
$$;

-- Subscribing calls a function that is not on its search path (42883).
CREATE OR REPLACE FUNCTION public.fn_battles_subscribe_webhook(
    p_battle_id uuid, p_webhook_url text, p_event_types text[]
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_id uuid;
BEGIN
    INSERT INTO battles.battle_event_subscriptions (battle_id, owner_id, webhook_url, event_types, secret_hmac)
    VALUES (p_battle_id, auth.uid(), p_webhook_url, p_event_types, encode(gen_random_bytes(32), 'hex'))
    RETURNING id INTO v_id;
    RETURN v_id;
END
$$;

-- The claim of team runs looks for a status that the table forbids, and never finds one.
CREATE OR REPLACE FUNCTION public.fn_worker_claim_team_run() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN (SELECT to_jsonb(run) FROM agents.team_runs AS run WHERE run.status = 'pending' LIMIT 1);
END
$$;

-- Delegation wants the session of the agent's owner, which a worker has not.
CREATE OR REPLACE FUNCTION public.fn_start_team_run(
    p_ai_lenser_id uuid, p_workflow_id uuid, p_inputs jsonb DEFAULT '{}', p_policy text DEFAULT 'auto'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM agents.ownerships AS owned
        WHERE owned.ai_lenser_id = p_ai_lenser_id AND owned.owner_lenser_id = lensers.get_auth_lenser_id()
    ) THEN
        RAISE EXCEPTION 'access_denied' USING ERRCODE = 'P0001', HINT = 'p0403';
    END IF;
    RETURN agents.fn_start_team_run(p_ai_lenser_id, p_workflow_id, p_inputs, p_policy);
END
$$;

-- It counts all failures that a schedule ever had, as if they had come one after the other.
CREATE OR REPLACE FUNCTION lenses.fn_consecutive_failures(p_schedule_id uuid) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT count(*) + 1 FROM lenses.workflow_runs AS run
    WHERE run.schedule_id = p_schedule_id AND run.status IN ('failed', 'timed_out')
    HAVING count(*) > 0
$$;

-- It lets a run with an assignee wait for any worker, approved or not; and a run that waits for approval does
-- not keep the next one back.
DO $do$
DECLARE
    v_source text;
BEGIN
    v_source := pg_get_functiondef('lenses.fn_dispatch_schedule'::regproc);
    EXECUTE replace(v_source, 'CASE WHEN v_needs_approval THEN ''pending_approval''',
                    'CASE WHEN v_needs_approval AND p_ai_lenser_id IS NULL THEN ''pending_approval''');
    v_source := pg_get_functiondef('lenses.fn_schedule_gate'::regproc);
    v_source := replace(v_source, '''draft'', ''validated'', ''queued'', ''pending'', ''pending_approval'',',
                        '''draft'', ''validated'', ''queued'', ''pending'',');
    -- The words for the agent's log are forbidden there, and end the dispatcher in that error (23514).
    EXECUTE replace(replace(v_source, '''throttled''', '''skipped'''), '''blocked_by_policy''',
                    '''budget_exceeded''');
END
$do$;

-- An event that matches a rule ends in an ambiguous name (42702).
CREATE OR REPLACE FUNCTION automation.fn_run_dispatcher(p_limit integer DEFAULT 100) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    event_id uuid;
    rule_id uuid;
BEGIN
    FOR event_id, rule_id IN
        SELECT event.id, rule.id FROM automation.events AS event
        JOIN automation.trigger_rules AS rule ON rule.match_event_type = event.event_type AND rule.is_active
        LIMIT p_limit
    LOOP
        PERFORM FROM automation.event_dispatches AS done WHERE done.event_id = event_id AND done.rule_id = rule_id;
    END LOOP;
    RETURN 0;
END
$$;

-- A run without a heartbeat counts as stale at once, such as one that a person drives in a browser.
CREATE OR REPLACE FUNCTION public.fn_claim_stale_workflow_run(
    p_worker_id text, p_stale_after_ms integer DEFAULT 60000, p_max_claims integer DEFAULT 1
) RETURNS TABLE (
    run_id uuid, workflow_id uuid, parent_run_id uuid, recursion_depth integer, previous_status text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH stale AS (
        SELECT run.id, run.status FROM lenses.workflow_runs AS run
        WHERE run.status IN ('queued', 'running', 'streaming', 'recovered')
          AND (run.heartbeat_at IS NULL OR run.heartbeat_at < now() - p_stale_after_ms * interval '1 millisecond')
        ORDER BY coalesce(run.heartbeat_at, run.started_at, run.created_at)
        LIMIT greatest(p_max_claims, 1) FOR UPDATE SKIP LOCKED
    )
    UPDATE lenses.workflow_runs AS run
    SET status = 'recovered', run_worker_id = p_worker_id, heartbeat_at = now()
    FROM stale WHERE run.id = stale.id
    RETURNING run.id, run.workflow_id, run.parent_run_id, run.recursion_depth, stale.status;
END
$$;

-- Every voter's single vote counts as concentrated, and the voter goes by one name only.
CREATE OR REPLACE FUNCTION public.fn_detect_suspicious_voting(p_battle_id uuid) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN QUERY
    SELECT jsonb_build_object('voter_lenser_id', vote.voter_lenser_id, 'reason', 'high_concentration', 'score', 1.0)
    FROM battles.votes AS vote
    WHERE vote.battle_id = p_battle_id
    GROUP BY vote.voter_lenser_id
    HAVING max((SELECT count(*) FROM battles.votes AS same
                WHERE same.battle_id = p_battle_id AND same.voter_lenser_id = vote.voter_lenser_id
                  AND same.vote_value = vote.vote_value)) > 0.8 * count(*);
END
$$;

-- The same flag twice is two rows.
CREATE OR REPLACE FUNCTION public.fn_flag_vote_anomaly(
    p_battle_id uuid, p_voter_id uuid, p_type text, p_score double precision
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO audit.vote_anomalies (battle_id, voter_lenser_id, anomaly_type, score)
    VALUES (p_battle_id, p_voter_id, p_type, p_score);
END
$$;
