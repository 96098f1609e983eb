-- Services that people have connected: who may use which account, and where its tokens are kept.

CREATE TABLE public.user_oauth_connections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    workspace_id uuid NOT NULL REFERENCES tenancy.workspaces ON DELETE CASCADE,
    provider text NOT NULL CHECK (provider IN (
        'notion', 'google', 'asana', 'monday', 'zapier', 'slack', 'github', 'gitlab', 'jira', 'linear',
        'trello', 'airtable', 'hubspot', 'salesforce', 'discord', 'microsoft_teams',
        'microsoft_outlook', 'microsoft_onedrive', 'microsoft_excel', 'dropbox', 'box', 'calendly',
        'clickup', 'todoist', 'custom_http'
    )),
    capability text NOT NULL CHECK (capability IN (
        'database', 'page', 'gmail', 'drive', 'sheets', 'docs', 'calendar', 'tasks', 'boards',
        'webhooks', 'chat', 'repos', 'issues', 'projects', 'lists', 'records', 'crm', 'messages',
        'channels', 'files', 'events', 'http'
    )),
    connection_label text NOT NULL CHECK (connection_label ~ '^[a-z0-9][a-z0-9_-]{0,47}$'),
    ref text NOT NULL CHECK (  -- provider.capability.label
        ref ~ '^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\.[a-z0-9][a-z0-9_-]{0,47}$' AND char_length(ref) <= 120
    ),
    auth_strategy text NOT NULL DEFAULT 'oauth2'
        CHECK (auth_strategy IN ('oauth2', 'api_key', 'webhook', 'none')),
    provider_config jsonb NOT NULL DEFAULT '{}',
    access_token_id uuid NOT NULL,
    refresh_token_id uuid,
    granted_scopes text[] NOT NULL DEFAULT '{}',
    expires_at timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (lenser_id, workspace_id, ref),
    CHECK ((is_active = true AND revoked_at IS NULL) OR (is_active = false AND revoked_at IS NOT NULL))
);

-- What a refresh needs, or NULL while the access token is good for five minutes more or can't be refreshed.
CREATE FUNCTION public.fn_oauth_get_connection_for_refresh(
    p_lenser_id uuid, p_ref text, p_workspace_id uuid DEFAULT NULL
) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'connection_id', c.id, 'workspace_id', c.workspace_id, 'refresh_token', s.decrypted_secret,
        'expires_at', c.expires_at, 'granted_scopes', c.granted_scopes, 'provider', c.provider,
        'capability', c.capability)
    FROM public.user_oauth_connections AS c
    JOIN vault.decrypted_secrets AS s ON s.id = c.refresh_token_id
    WHERE c.lenser_id = p_lenser_id AND c.ref = p_ref AND c.is_active AND c.revoked_at IS NULL
      AND (p_workspace_id IS NULL OR c.workspace_id = p_workspace_id)
      AND (c.expires_at IS NULL OR c.expires_at <= now() + interval '5 minutes')
    ORDER BY c.created_at
    LIMIT 1
$$;

-- The access token of a connection that has every scope asked for; whether it has expired is not looked at.
CREATE FUNCTION public.fn_oauth_resolve_connection(
    p_lenser_id uuid, p_ref text, p_required_scopes text[] DEFAULT '{}', p_workspace_id uuid DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    connection public.user_oauth_connections;
    token text;
BEGIN
    SELECT c.* INTO connection FROM public.user_oauth_connections AS c
    WHERE c.lenser_id = p_lenser_id AND c.ref = p_ref AND c.is_active AND c.revoked_at IS NULL
      AND (p_workspace_id IS NULL OR c.workspace_id = p_workspace_id)
    ORDER BY c.created_at LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'oauth_resolve_not_found: %', p_ref USING ERRCODE = 'P0002';
    ELSIF NOT p_required_scopes <@ connection.granted_scopes THEN
        RAISE EXCEPTION 'oauth_resolve_scope_mismatch: %', p_ref USING ERRCODE = '42501';
    END IF;
    SELECT s.decrypted_secret INTO token FROM vault.decrypted_secrets AS s WHERE s.id = connection.access_token_id;
    IF token IS NULL THEN
        RAISE EXCEPTION 'oauth_resolve_vault_miss: %', p_ref;
    END IF;
    RETURN token;
END
$$;

-- Keeps a connection's tokens. Without a refresh token the old one stays; scopes and expiry are replaced.
CREATE FUNCTION public.fn_oauth_upsert_connection(
    p_lenser_id uuid, p_workspace_id uuid, p_provider text, p_capability text, p_label text,
    p_access_token text, p_refresh_token text DEFAULT NULL, p_granted_scopes text[] DEFAULT '{}',
    p_expires_at timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    connection_ref text := concat_ws('.', p_provider, p_capability, p_label);
    access_id uuid;
    refresh_id uuid;
    connection_id uuid;
BEGIN
    SELECT c.access_token_id, c.refresh_token_id INTO access_id, refresh_id
    FROM public.user_oauth_connections AS c
    WHERE c.lenser_id = p_lenser_id AND c.workspace_id = p_workspace_id AND c.ref = connection_ref;
    IF access_id IS NULL THEN
        access_id := vault.create_secret(p_access_token, format('oauth_access_%s_%s', p_lenser_id, connection_ref));
    ELSE
        PERFORM vault.update_secret(access_id, p_access_token);
    END IF;
    IF p_refresh_token IS NOT NULL AND refresh_id IS NULL THEN
        refresh_id := vault.create_secret(
            p_refresh_token, format('oauth_refresh_%s_%s', p_lenser_id, connection_ref));
    ELSIF p_refresh_token IS NOT NULL THEN
        PERFORM vault.update_secret(refresh_id, p_refresh_token);
    END IF;
    INSERT INTO public.user_oauth_connections AS c (
        lenser_id, workspace_id, provider, capability, connection_label, ref, access_token_id,
        refresh_token_id, granted_scopes, expires_at)
    VALUES (p_lenser_id, p_workspace_id, p_provider, p_capability, p_label, connection_ref, access_id,
            refresh_id, p_granted_scopes, p_expires_at)
    ON CONFLICT (lenser_id, workspace_id, ref) DO UPDATE
    SET access_token_id = excluded.access_token_id,
        refresh_token_id = excluded.refresh_token_id,
        granted_scopes = excluded.granted_scopes, expires_at = excluded.expires_at,
        is_active = true, revoked_at = NULL, updated_at = now()
    RETURNING c.id INTO connection_id;
    RETURN connection_id;
END
$$;

REVOKE ALL ON TABLE public.user_oauth_connections FROM PUBLIC, anon, authenticated;
REVOKE ALL ON FUNCTION
    public.fn_oauth_get_connection_for_refresh,
    public.fn_oauth_resolve_connection,
    public.fn_oauth_upsert_connection
FROM PUBLIC, anon, authenticated;

GRANT ALL ON TABLE public.user_oauth_connections TO service_role;
GRANT EXECUTE ON FUNCTION
    public.fn_oauth_get_connection_for_refresh,
    public.fn_oauth_resolve_connection,
    public.fn_oauth_upsert_connection
TO service_role;
