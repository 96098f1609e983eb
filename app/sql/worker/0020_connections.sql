-- The services that people have connected, as the nodes of workflows use them.

-- In whose rights a run acts: its workflow's owner's. A run that somebody else has started has none, or its
-- inputs would steer another person's accounts.
CREATE FUNCTION worker.fn_run_owner(p_run_id uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT w.lenser_id
    FROM lenses.workflow_runs r JOIN lenses.workflows w ON w.id = r.workflow_id
    WHERE r.id = p_run_id AND (
        r.triggered_by IS NULL OR r.triggered_by = w.lenser_id
        OR EXISTS (SELECT FROM agents.ai_lensers a JOIN agents.ownerships o ON o.ai_lenser_id = a.id
                   WHERE a.profile_id = r.triggered_by AND o.owner_lenser_id = w.lenser_id
                     AND o.role = 'owner' AND o.revoked_at IS NULL))
$$;

-- Whose connections a run may use, the first first: its agent's if that is the owner's, then the owner's own.
CREATE FUNCTION worker.fn_run_principals(p_run_id uuid) RETURNS TABLE (lenser_id uuid, rank integer)
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH owner AS (SELECT worker.fn_run_owner(p_run_id) AS id)
    SELECT a.profile_id, 1
    FROM owner
    JOIN agents.ownerships o ON o.owner_lenser_id = owner.id AND o.role = 'owner' AND o.revoked_at IS NULL
    JOIN agents.ai_lensers a ON a.id = o.ai_lenser_id AND a.is_active
    JOIN lenses.workflow_runs r ON r.id = p_run_id AND r.ai_lenser_id = a.id
    UNION ALL
    SELECT owner.id, 2 FROM owner WHERE owner.id IS NOT NULL
$$;

-- Who holds the connection that a run may use under a name; null if nobody does.
CREATE FUNCTION worker.fn_connection_holder(p_run_id uuid, p_ref text) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT c.lenser_id
    FROM worker.fn_run_principals(p_run_id) AS p
    JOIN public.user_oauth_connections c ON c.lenser_id = p.lenser_id
    WHERE c.ref = p_ref AND c.is_active AND c.revoked_at IS NULL
    ORDER BY p.rank, c.created_at LIMIT 1
$$;

-- Shadow: the platform's function writes into the vault's table by hand, which leaves a token that a vault
-- that encrypts in its functions can't read again.
CREATE FUNCTION worker.fn_oauth_upsert_connection(
    p_lenser_id uuid, p_workspace_id uuid, p_provider text, p_capability text, p_label text,
    p_access_token text, p_refresh_token text DEFAULT NULL, p_granted_scopes text[] DEFAULT '{}',
    p_expires_at timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_ref text := concat_ws('.', p_provider, p_capability, p_label);
    v_found public.user_oauth_connections;
    v_id uuid;
BEGIN
    SELECT * INTO v_found FROM public.user_oauth_connections c
    WHERE c.lenser_id = p_lenser_id AND c.workspace_id = p_workspace_id AND c.ref = v_ref FOR UPDATE;
    v_found.access_token_id := worker.fn_keep_secret(
        v_found.access_token_id, format('oauth_access_%s_%s', p_lenser_id, v_ref), p_access_token);
    IF p_refresh_token IS NOT NULL THEN
        v_found.refresh_token_id := worker.fn_keep_secret(
            v_found.refresh_token_id, format('oauth_refresh_%s_%s', p_lenser_id, v_ref), p_refresh_token);
    END IF;
    INSERT INTO public.user_oauth_connections AS c (
        lenser_id, workspace_id, provider, capability, connection_label, ref, access_token_id,
        refresh_token_id, granted_scopes, expires_at)
    VALUES (p_lenser_id, p_workspace_id, p_provider, p_capability, p_label, v_ref, v_found.access_token_id,
            v_found.refresh_token_id, p_granted_scopes, p_expires_at)
    ON CONFLICT (lenser_id, workspace_id, ref) DO UPDATE
    SET access_token_id = excluded.access_token_id, refresh_token_id = excluded.refresh_token_id,
        granted_scopes = excluded.granted_scopes, expires_at = excluded.expires_at,
        is_active = true, revoked_at = NULL, updated_at = now()
    RETURNING c.id INTO v_id;
    RETURN v_id;
END $$;

-- Keep a secret through the vault's own functions, in the place of an earlier one if there is one.
CREATE FUNCTION worker.fn_keep_secret(p_secret_id uuid, p_name text, p_secret text) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_id uuid := coalesce(p_secret_id, (SELECT s.id FROM vault.secrets s WHERE s.name = p_name));
BEGIN
    IF v_id IS NULL THEN
        RETURN vault.create_secret(p_secret, p_name);
    END IF;
    PERFORM vault.update_secret(v_id, p_secret);
    RETURN v_id;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
