-- The producer: a person who is signed in asks for a lens run.

CREATE FUNCTION execution.fn_run_lens(
    p_lens_id uuid,
    p_version_id uuid,
    p_model_id uuid,
    p_inputs jsonb DEFAULT '{}',
    p_funding_source text DEFAULT 'platform_credit',
    p_byok_key_id uuid DEFAULT NULL,
    p_workspace_id uuid DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    requester uuid := lensers.get_auth_lenser_id();
    requested_id uuid;
    queued_run_id uuid;
BEGIN
    IF requester IS NULL THEN
        RAISE EXCEPTION 'Authentication required';
    END IF;
    IF p_byok_key_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM ai.keys AS key WHERE key.id = p_byok_key_id AND key.lenser_id = requester AND key.is_active
    ) THEN
        RAISE EXCEPTION 'Key not found or revoked';
    END IF;

    INSERT INTO execution.requests (requester_lenser_id, origin_type, lens_id, version_id, model_id,
                                    input_snapshot, funding_source, byok_key_ref_id, workspace_id)
    VALUES (requester, 'api', p_lens_id, p_version_id, p_model_id,
            p_inputs, p_funding_source, p_byok_key_id, p_workspace_id)
    RETURNING id INTO requested_id;

    INSERT INTO execution.runs (request_id, model_id) VALUES (requested_id, p_model_id)
    RETURNING id INTO queued_run_id;
    RETURN queued_run_id;
END
$$;

CREATE FUNCTION execution.fn_run_lens(
    p_lens_id uuid,
    p_version_id uuid,
    p_model_id uuid,
    p_inputs jsonb DEFAULT '{}',
    p_funding_source text DEFAULT 'platform_credit',
    p_byok_key_id uuid DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN execution.fn_run_lens(
        p_lens_id, p_version_id, p_model_id, p_inputs, p_funding_source, p_byok_key_id, NULL::uuid
    );
END
$$;

-- With an idempotency key, the same person asking for the same lens again gets the run they already have.
CREATE FUNCTION public.fn_run_lens(
    p_lens_id uuid,
    p_version_id uuid,
    p_model_id uuid,
    p_inputs jsonb DEFAULT '{}',
    p_funding_source text DEFAULT 'platform_credit',
    p_byok_key_id uuid DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    requester uuid := lensers.get_auth_lenser_id();
    queued_run_id uuid;
BEGIN
    IF p_idempotency_key IS NOT NULL THEN
        -- No unique key covers this, so whoever asks at the same time waits here for the other.
        PERFORM pg_advisory_xact_lock(
            hashtextextended(concat_ws('/', requester, p_lens_id, p_idempotency_key), 0)
        );
        SELECT run.id INTO queued_run_id
        FROM execution.requests AS request
        JOIN execution.runs AS run ON run.request_id = request.id
        WHERE request.requester_lenser_id = requester
          AND request.lens_id = p_lens_id
          AND request.idempotency_key = p_idempotency_key
        ORDER BY run.created_at
        LIMIT 1;
        IF FOUND THEN
            RETURN queued_run_id;
        END IF;
    END IF;

    queued_run_id := execution.fn_run_lens(
        p_lens_id, p_version_id, p_model_id, p_inputs, p_funding_source, p_byok_key_id, NULL::uuid
    );
    UPDATE execution.requests AS request
    SET idempotency_key = p_idempotency_key
    FROM execution.runs AS run
    WHERE run.id = queued_run_id AND request.id = run.request_id AND p_idempotency_key IS NOT NULL;
    RETURN queued_run_id;
END
$$;
