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
