-- Reading a key that a person brought: for the worker alone, and only while the key is active.

CREATE FUNCTION ai.fn_decrypt_api_key(p_key_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    secret_id uuid;
    api_key text;
BEGIN
    IF auth.role() IS DISTINCT FROM 'service_role' THEN
        RAISE EXCEPTION 'Forbidden: only service_role may decrypt API keys';
    END IF;

    SELECT key.encrypted_key_id INTO secret_id FROM ai.keys AS key WHERE key.id = p_key_id AND key.is_active;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Key not found or revoked';
    END IF;

    SELECT secret.decrypted_secret INTO api_key FROM vault.decrypted_secrets AS secret WHERE secret.id = secret_id;
    IF api_key IS NULL THEN
        RAISE EXCEPTION 'Failed to decrypt key from vault';
    END IF;
    RETURN api_key;
END
$$;

CREATE FUNCTION public.fn_worker_decrypt_api_key(p_key_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN ai.fn_decrypt_api_key(p_key_id);
END
$$;

REVOKE ALL ON FUNCTION ai.fn_decrypt_api_key, public.fn_worker_decrypt_api_key
FROM PUBLIC, anon, authenticated;

GRANT EXECUTE ON FUNCTION ai.fn_decrypt_api_key, public.fn_worker_decrypt_api_key TO service_role;
