-- What Python reads and writes of the platform's tables, as functions: who may call them needs no right on
-- those tables. See app/roles.py for the role that has no other rights.

-- Roles that are given what the worker needs whenever migrations are applied.
CREATE TABLE worker.roles (
    name text PRIMARY KEY,
    granted_at timestamptz NOT NULL DEFAULT now()
);

-- The account behind a profile, whose rights a question to the platform is asked with.
CREATE FUNCTION worker.fn_user_of_lenser(p_lenser uuid) RETURNS uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT p.user_id FROM lensers.profiles p WHERE p.id = p_lenser
$$;

-- What is stored of a workflow run's nodes.
CREATE FUNCTION worker.fn_node_rows(p_run uuid) RETURNS TABLE (
    node_id uuid, status text, output_data jsonb, error_message text, retry_count integer,
    waiting_reason text, started_at timestamptz
)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT r.node_id, r.status, r.output_data, r.error_message, r.retry_count, r.waiting_reason, r.started_at
    FROM lenses.workflow_node_results r WHERE r.run_id = p_run
$$;

-- The pinned version of a lens, else its newest published one, else its newest; contracts are a pinned one's.
CREATE FUNCTION worker.fn_lens_content(p_lens uuid, p_version uuid DEFAULT NULL)
RETURNS TABLE (version jsonb, input_contract jsonb, output_contract jsonb)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT worker.fn_lens_version(v.id), CASE WHEN p_version IS NOT NULL THEN v.input_contract END,
           CASE WHEN p_version IS NOT NULL THEN v.output_contract END
    FROM lenses.versions v
    WHERE v.lens_id = p_lens AND (p_version IS NULL OR v.id = p_version)
    ORDER BY v.status = 'published' DESC,
             CASE WHEN v.status = 'published' THEN v.published_at END DESC NULLS LAST,
             v.version_number DESC
    LIMIT 1
$$;

-- Who serves a model, and what it makes where that is known.
CREATE FUNCTION worker.fn_known_model(p_key text) RETURNS TABLE (provider text, modality text)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT p.key, m.output_modalities[1]
    FROM ai.models m JOIN ai.providers p ON p.id = m.provider_id WHERE m.key = p_key
$$;

-- A workflow's value under a key, unless it has expired.
CREATE FUNCTION worker.fn_read_workflow_value(p_workflow uuid, p_key text) RETURNS TABLE (value jsonb)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT s.value FROM public.workflow_kv_store s
    WHERE s.workflow_id = p_workflow AND s.key = p_key AND s.expires_at > now()
    ORDER BY s.created_at DESC, s.id LIMIT 1
$$;

CREATE FUNCTION worker.fn_count_votes(p_battle uuid) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT count(*) FROM battles.votes v WHERE v.battle_id = p_battle
$$;

-- Where a battle job's file belongs; no row once the job was deleted.
CREATE FUNCTION worker.fn_battle_job_place(p_job uuid)
RETURNS TABLE (battle_id uuid, contender_id uuid, created_ms bigint)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT j.battle_id, j.contender_id, (extract(epoch FROM j.created_at) * 1000)::bigint
    FROM battles.battle_execution_jobs j WHERE j.id = p_job
$$;

-- Keep with a submission how it was made.
CREATE FUNCTION worker.fn_describe_submission(
    p_battle uuid, p_contender uuid, p_model uuid, p_metadata jsonb
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE battles.submissions s
    SET model_id = coalesce(p_model, s.model_id), metadata = s.metadata || p_metadata
    WHERE s.battle_id = p_battle AND s.contender_id = p_contender
$$;

-- Keep a team run's result while the run is open.
CREATE FUNCTION worker.fn_keep_team_result(p_team_run uuid, p_result jsonb) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE agents.team_runs t SET metadata = t.metadata || jsonb_build_object('result', p_result)
    WHERE t.id = p_team_run AND t.status IN ('queued', 'running', 'blocked')
$$;

-- The status of the workflow run that belongs to a team run; no row if it was deleted.
CREATE FUNCTION worker.fn_team_workflow_status(p_team_run uuid) RETURNS TABLE (status text)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT r.status FROM agents.team_runs t JOIN lenses.workflow_runs r ON r.id = t.workflow_run_id
    WHERE t.id = p_team_run
$$;

-- What was said in a team run's finished turns, in that order.
CREATE FUNCTION worker.fn_spoken_turns(p_team_run uuid) RETURNS TABLE (spoken jsonb)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT s.payload -> 'spoken' FROM agents.agent_run_steps s
    WHERE s.team_run_id = p_team_run AND s.status = 'completed' AND s.payload ? 'spoken'
    ORDER BY s.completed_at, s.id
$$;

CREATE FUNCTION worker.fn_scratchpad_version(p_team_run uuid) RETURNS integer
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT t.shared_scratchpad_version FROM agents.team_runs t WHERE t.id = p_team_run
$$;

-- How a team run stands; no row if it was deleted.
CREATE FUNCTION worker.fn_delegated_run(p_team_run uuid) RETURNS TABLE (status text, result jsonb, error text)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT t.status, t.metadata -> 'result', t.metadata ->> 'error' FROM agents.team_runs t
    WHERE t.id = p_team_run
$$;

CREATE FUNCTION worker.fn_owns_agent(p_owner uuid, p_agent uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM agents.ownerships o
                   WHERE o.ai_lenser_id = p_agent AND o.owner_lenser_id = p_owner AND o.role = 'owner'
                     AND o.revoked_at IS NULL)
$$;

-- The newest memories of an agent that may be shown.
CREATE FUNCTION worker.fn_shown_memories(p_agent uuid, p_most integer)
RETURNS TABLE (id uuid, content text, scope text, source text)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT m.id, m.content, m.scope, m.source FROM agents.memories m
    WHERE m.ai_lenser_id = p_agent AND NOT m.is_redacted AND (m.expires_at IS NULL OR m.expires_at > now())
    ORDER BY m.created_at DESC, m.id LIMIT p_most
$$;

CREATE FUNCTION worker.fn_add_webhook(p_id uuid, p_event_type text, p_payload jsonb, p_target_url text)
RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO audit.webhook_outbox (id, event_type, payload, target_url)
    VALUES (p_id, p_event_type, p_payload, p_target_url)
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
