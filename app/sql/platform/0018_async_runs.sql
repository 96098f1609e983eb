-- Asynchronous lens runs: another producer started a task at a provider; find it due, complete it, time it out.

-- Running tasks that nobody looked at for a while. Looking at them is the lease: whoever asks next waits.
CREATE FUNCTION execution.fn_poll_async_run(p_stale_after_seconds integer DEFAULT 30, p_limit integer DEFAULT 10)
RETURNS TABLE (
    run_id uuid, provider_task_id text, model_key text, provider_key text, output_modality text,
    started_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN QUERY
    WITH due AS (
        SELECT run.id FROM execution.runs AS run
        WHERE run.is_async AND run.status = 'running' AND run.provider_task_id IS NOT NULL
          AND (run.last_polled_at IS NULL
               OR run.last_polled_at < now() - make_interval(secs => p_stale_after_seconds))
        ORDER BY run.last_polled_at NULLS FIRST
        LIMIT least(greatest(p_limit, 1), 50)
        FOR UPDATE SKIP LOCKED
    ), polled AS (
        UPDATE execution.runs AS run SET last_polled_at = now() FROM due WHERE run.id = due.id
        RETURNING run.id, run.request_id, run.provider_task_id, run.started_at
    )
    SELECT polled.id, polled.provider_task_id, model.key, provider.key, request.output_modality, polled.started_at
    FROM polled
    JOIN execution.requests AS request ON request.id = polled.request_id
    LEFT JOIN ai.models AS model ON model.id = request.model_id
    LEFT JOIN ai.providers AS provider ON provider.id = model.provider_id;
END
$$;

-- Store a finished medium: a link to it, the artifact, the price, and the run's success.
CREATE FUNCTION execution.fn_complete_async_run(
    p_run_id uuid, p_media_url text, p_mime_type text, p_bytes bigint DEFAULT NULL,
    p_width integer DEFAULT NULL, p_height integer DEFAULT NULL, p_duration_s numeric DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    request execution.requests;
    kind text := split_part(p_mime_type, '/', 1);
    cost bigint;
    linked_media_ids uuid[];
BEGIN
    SELECT asked.* INTO request FROM execution.requests AS asked
    JOIN execution.runs AS run ON run.request_id = asked.id WHERE run.id = p_run_id;

    SELECT ceil(price.credit_rate * CASE price.rate_unit WHEN 'per_second' THEN coalesce(p_duration_s, 0) ELSE 1 END)
    INTO cost FROM ai.modality_pricing AS price
    WHERE price.model_id = request.model_id AND price.output_modality = request.output_modality AND price.is_active;

    WITH stored AS (
        INSERT INTO media.objects (workspace_id, owner_lenser_id, external_url, mime_type, media_type, name,
                                   byte_size, lifecycle_state, request_id, duration_seconds, video_width, video_height)
        SELECT request.workspace_id, request.requester_lenser_id, p_media_url, p_mime_type, kind, p_run_id::text,
               p_bytes, 'active', request.id, p_duration_s, p_width, p_height
        WHERE request.workspace_id IS NOT NULL
        RETURNING id
    )
    SELECT array_agg(stored.id) INTO linked_media_ids FROM stored;

    PERFORM execution.fn_persist_execution_artifacts(
        p_run_id, request.requester_lenser_id, request.workspace_id, request.model_id, kind, p_media_url, NULL,
        coalesce(linked_media_ids, '{}'));
    PERFORM execution.fn_complete_execution_run(
        p_run_id, 'succeeded', p_credit_cost => coalesce(cost, 0),
        p_billing_status => CASE WHEN cost > 0 THEN 'pending' ELSE 'free' END, p_response_text => p_media_url);
END
$$;

-- The first call completes the run and says true; an unknown or ended run says false.
CREATE FUNCTION execution.fn_async_run_idempotent_complete(
    p_run_id uuid, p_media_url text, p_mime_type text, p_bytes bigint DEFAULT NULL,
    p_width integer DEFAULT NULL, p_height integer DEFAULT NULL, p_duration_s numeric DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM FROM execution.runs AS run
    WHERE run.id = p_run_id AND run.status IN ('queued', 'running') FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM execution.fn_complete_async_run(
        p_run_id, p_media_url, p_mime_type, p_bytes, p_width, p_height, p_duration_s);
    RETURN true;
END
$$;

CREATE FUNCTION execution.fn_timeout_stale_runs() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    timed_out integer;
BEGIN
    UPDATE execution.runs AS run
    SET status = 'timed_out', completed_at = now(), error_code = 'async_timeout',
        error_message = 'The provider did not finish within 15 minutes'
    WHERE run.is_async AND run.status = 'running' AND run.started_at < now() - interval '15 minutes';
    GET DIAGNOSTICS timed_out = ROW_COUNT;
    RETURN timed_out;
END
$$;

REVOKE ALL ON FUNCTION
    execution.fn_poll_async_run,
    execution.fn_complete_async_run,
    execution.fn_async_run_idempotent_complete,
    execution.fn_timeout_stale_runs()
FROM PUBLIC, anon, authenticated;

GRANT EXECUTE ON FUNCTION
    execution.fn_poll_async_run,
    execution.fn_complete_async_run,
    execution.fn_async_run_idempotent_complete,
    execution.fn_timeout_stale_runs()
TO service_role;
