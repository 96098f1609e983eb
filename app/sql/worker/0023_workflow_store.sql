-- What the nodes of workflows keep on the platform: values under keys, and the memories of agents.

-- Keep a value under a key of a workflow until it expires, in the place of an earlier one.
CREATE FUNCTION worker.write_workflow_value(
    p_workflow_id uuid, p_run_id uuid, p_key text, p_value jsonb, p_ttl_ms bigint
) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_expires_at timestamptz := now() + p_ttl_ms * interval '1 millisecond';
BEGIN
    -- The table knows no key: writers of one take turns.
    PERFORM pg_advisory_xact_lock(hashtext('worker.workflow_kv'), hashtext(p_workflow_id || p_key));
    DELETE FROM public.workflow_kv_store s
    WHERE s.workflow_id = p_workflow_id AND (s.key = p_key OR s.expires_at <= now());
    INSERT INTO public.workflow_kv_store (workflow_id, run_id, key, value, expires_at)
    VALUES (p_workflow_id, p_run_id, p_key, p_value, v_expires_at);
    RETURN v_expires_at;
END $$;

-- The agent whose memories a run may use: the one that is named by its id or its profile's, else the run's
-- own; null unless it belongs to the workflow's owner.
CREATE FUNCTION worker.fn_remembering_agent(p_run_id uuid, p_named uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT a.id
    FROM agents.ai_lensers a
    JOIN agents.ownerships o ON o.ai_lenser_id = a.id AND o.role = 'owner' AND o.revoked_at IS NULL
    WHERE o.owner_lenser_id = worker.fn_run_owner(p_run_id)
      AND (a.id = p_named OR a.profile_id = p_named
           OR (p_named IS NULL AND a.id = (SELECT r.ai_lenser_id FROM lenses.workflow_runs r WHERE r.id = p_run_id)))
    LIMIT 1
$$;

-- Have an agent remember something, under a key in the place of what it remembered under it; null if the
-- agent has no profile to keep it in. The key stands in the memory's metadata, which is free to be used.
CREATE FUNCTION worker.write_memory(
    p_agent uuid, p_key text, p_content text, p_scope text, p_source text, p_confidence numeric, p_ttl_ms bigint
) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_profile uuid;
    v_id uuid;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('worker.memories'), hashtext(p_agent || p_key));
    UPDATE agents.memories m
    SET content = p_content, scope = p_scope, source = p_source, confidence = p_confidence, created_at = now(),
        expires_at = now() + p_ttl_ms * interval '1 millisecond', is_redacted = false
    WHERE m.id = (SELECT e.id FROM agents.memories e
                  WHERE e.ai_lenser_id = p_agent AND e.embedding_metadata ->> 'key' = p_key
                  ORDER BY e.created_at DESC LIMIT 1)
    RETURNING m.id INTO v_id;
    IF v_id IS NOT NULL THEN
        RETURN v_id;
    END IF;
    -- The default profile, whatever other columns the platform gives it.
    SELECT p.id INTO v_profile FROM agents.memory_profiles p
    WHERE to_jsonb(p) ->> 'ai_lenser_id' = p_agent::text
    ORDER BY (to_jsonb(p) ->> 'is_default')::boolean DESC NULLS LAST, p.id LIMIT 1;
    v_profile := coalesce(v_profile, (
        SELECT m.profile_id FROM agents.memories m WHERE m.ai_lenser_id = p_agent
        ORDER BY m.created_at DESC LIMIT 1));
    IF v_profile IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO agents.memories (
        profile_id, ai_lenser_id, scope, source, content, embedding_metadata, confidence, expires_at)
    VALUES (v_profile, p_agent, p_scope, p_source, p_content, jsonb_build_object('key', p_key), p_confidence,
            now() + p_ttl_ms * interval '1 millisecond')
    RETURNING id INTO v_id;
    RETURN v_id;
END $$;

-- What an agent remembers: under a key, or about a text, or at all; the best first.
CREATE FUNCTION worker.search_memories(p_agent uuid, p_key text, p_about text, p_most integer)
RETURNS TABLE (key text, content text, scope text, source text, confidence float, created_at timestamptz)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT m.embedding_metadata ->> 'key', m.content, m.scope, m.source, m.confidence::float, m.created_at
    FROM agents.memories m
    CROSS JOIN LATERAL (SELECT CASE WHEN p_about IS NULL THEN 0 ELSE ts_rank(
        to_tsvector('simple', m.content), replace(plainto_tsquery('simple', p_about)::text, '&', '|')::tsquery)
        END) AS found (rank)
    WHERE m.ai_lenser_id = p_agent AND NOT m.is_redacted AND coalesce(m.expires_at > now(), true)
      AND (p_key IS NULL OR m.embedding_metadata ->> 'key' = p_key)
      AND (p_about IS NULL OR found.rank > 0)
    ORDER BY found.rank DESC, m.confidence DESC, m.created_at DESC, m.id
    LIMIT p_most
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
