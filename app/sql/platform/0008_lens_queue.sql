-- The queue of lens runs: claim one, write its end, store what came out.

-- Takes the oldest queued run. The lock covers the run's request too, so a run whose sibling is being
-- claimed just now is skipped and not waited for.
CREATE FUNCTION execution.fn_claim_queued_run()
RETURNS TABLE (
    run_id uuid, request_id uuid, requester_lenser_id uuid, workspace_id uuid, lens_id uuid, version_id uuid,
    model_id uuid, model_key text, provider_key text, funding_source text, byok_key_ref_id uuid,
    input_snapshot jsonb
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    claimed_id uuid;
BEGIN
    IF auth.role() IS DISTINCT FROM 'service_role' THEN
        RAISE EXCEPTION 'Forbidden: only service_role may claim queued runs';
    END IF;

    SELECT run.id INTO claimed_id
    FROM execution.runs AS run
    JOIN execution.requests AS request ON request.id = run.request_id
    WHERE run.status = 'queued' AND run.is_active AND request.is_active
    ORDER BY run.created_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED;

    UPDATE execution.runs AS run
    SET status = 'running', started_at = coalesce(run.started_at, now())
    WHERE run.id = claimed_id;

    RETURN QUERY
    SELECT run.id, request.id, request.requester_lenser_id, request.workspace_id, request.lens_id,
           request.version_id, run.model_id, model.key, provider.key, request.funding_source,
           request.byok_key_ref_id, request.input_snapshot
    FROM execution.runs AS run
    JOIN execution.requests AS request ON request.id = run.request_id
    LEFT JOIN ai.models AS model ON model.id = run.model_id
    LEFT JOIN ai.providers AS provider ON provider.id = model.provider_id
    WHERE run.id = claimed_id;
END
$$;

-- The claimed run as one object, or NULL when nothing can be claimed.
CREATE FUNCTION public.fn_worker_claim_queued_run() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    claimed jsonb;
BEGIN
    SELECT to_jsonb(run) INTO claimed FROM execution.fn_claim_queued_run() AS run;
    RETURN claimed;
END
$$;

-- Writes the end of a run. NULL keeps the counters and the billing status, and clears the texts.
CREATE FUNCTION execution.fn_complete_execution_run(
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
        billing_status = coalesce(p_billing_status, run.billing_status),
        response_text = p_response_text,
        response_meta = coalesce(p_response_meta, run.response_meta),
        error_code = p_error_code,
        error_message = p_error_message,
        latency_ms = coalesce(p_latency_ms, run.latency_ms)
    WHERE run.id = p_run_id;
END
$$;

CREATE FUNCTION public.fn_worker_complete_execution_run(
    p_run_id uuid,
    p_status text,
    p_token_input integer DEFAULT NULL,
    p_token_output integer DEFAULT NULL,
    p_credit_cost bigint DEFAULT NULL,
    p_billing_status text DEFAULT NULL,
    p_response_text text DEFAULT NULL,
    p_response_meta jsonb DEFAULT NULL,
    p_error_code text DEFAULT NULL,
    p_error_message text DEFAULT NULL,
    p_latency_ms integer DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM execution.fn_complete_execution_run(
        p_run_id, p_status, p_token_input, p_token_output, p_credit_cost, p_billing_status,
        p_response_text, p_response_meta, p_error_code, p_error_message, p_latency_ms
    );
END
$$;

CREATE FUNCTION public.fn_worker_fail_execution_run(
    p_run_id uuid,
    p_error_code text DEFAULT 'provider_failed',
    p_error_message text DEFAULT 'Provider reported failure'
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    UPDATE execution.runs
    SET status = 'failed', completed_at = now(), error_code = p_error_code, error_message = p_error_message
    WHERE id = p_run_id
$$;

-- Stores one primary artifact. `p_media_ids` must be an array: NULL raises 22004.
CREATE FUNCTION execution.fn_persist_execution_artifacts(
    p_run_id uuid,
    p_lenser_id uuid,
    p_workspace_id uuid,
    p_ai_model_id uuid,
    p_kind text,
    p_content_text text DEFAULT NULL,
    p_content_json jsonb DEFAULT NULL,
    p_media_ids uuid[] DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    stored_id uuid;
    linked_media_id uuid;
BEGIN
    INSERT INTO execution.artifacts (run_id, artifact_kind, output_type, content_text, content_json,
                                     visibility, is_primary_output)
    VALUES (p_run_id, p_kind, p_kind, p_content_text, p_content_json, 'private', true)
    RETURNING id INTO stored_id;

    FOREACH linked_media_id IN ARRAY p_media_ids LOOP
        INSERT INTO execution.artifact_medias (artifact_id, media_id) VALUES (stored_id, linked_media_id);
    END LOOP;
    RETURN stored_id;
END
$$;

CREATE FUNCTION public.fn_worker_persist_execution_artifacts(
    p_run_id uuid,
    p_lenser_id uuid,
    p_workspace_id uuid,
    p_ai_model_id uuid,
    p_kind text,
    p_content_text text DEFAULT NULL,
    p_content_json jsonb DEFAULT NULL,
    p_media_ids uuid[] DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM execution.fn_persist_execution_artifacts(
        p_run_id, p_lenser_id, p_workspace_id, p_ai_model_id, p_kind, p_content_text, p_content_json,
        p_media_ids
    );
END
$$;

REVOKE ALL ON FUNCTION
    execution.fn_claim_queued_run,
    public.fn_worker_claim_queued_run,
    execution.fn_complete_execution_run,
    public.fn_worker_complete_execution_run,
    public.fn_worker_fail_execution_run,
    execution.fn_persist_execution_artifacts,
    public.fn_worker_persist_execution_artifacts
FROM PUBLIC, anon, authenticated;

GRANT EXECUTE ON FUNCTION
    execution.fn_claim_queued_run,
    public.fn_worker_claim_queued_run,
    execution.fn_complete_execution_run,
    public.fn_worker_complete_execution_run,
    public.fn_worker_fail_execution_run,
    execution.fn_persist_execution_artifacts,
    public.fn_worker_persist_execution_artifacts
TO service_role;
