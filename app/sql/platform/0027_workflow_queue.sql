-- How workers take workflow runs, say that they are at them, and write what comes out.

CREATE FUNCTION lenses.fn_claim_scheduled_workflow_run(p_worker_id text)
RETURNS TABLE (
    run_id uuid, workflow_id uuid, schedule_id uuid, triggered_by uuid, context_inputs jsonb,
    global_model_id text, ai_lenser_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
BEGIN
    IF public.fn_kill_switch_active('system') THEN
        RETURN;
    END IF;
    RETURN QUERY
    UPDATE lenses.workflow_runs AS run
    SET status = 'running', started_at = now(), run_worker_id = p_worker_id, heartbeat_at = now()
    WHERE run.id = (
        SELECT waiting.id FROM lenses.workflow_runs AS waiting
        WHERE waiting.status = 'pending' AND waiting.trigger_mode IN ('schedule', 'api')
        ORDER BY waiting.created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING run.id, run.workflow_id, run.schedule_id, run.triggered_by, run.context_inputs,
              run.global_model_id, run.ai_lenser_id;
END
$$;

CREATE FUNCTION public.fn_worker_claim_scheduled_workflow_run(p_worker_id text)
RETURNS TABLE (
    run_id uuid, workflow_id uuid, schedule_id uuid, triggered_by uuid, context_inputs jsonb,
    global_model_id text, ai_lenser_id uuid
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN QUERY SELECT * FROM lenses.fn_claim_scheduled_workflow_run(p_worker_id);
END
$$;

-- Says nothing of whose the run is by now; a worker learns neither eviction nor cancellation from it.
CREATE FUNCTION public.fn_heartbeat_workflow_run(p_run_id uuid, p_worker_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE lenses.workflow_runs AS run
    SET heartbeat_at = now(), run_worker_id = coalesce(run.run_worker_id, p_worker_id)
    WHERE run.id = p_run_id AND run.status IN ('queued', 'running', 'streaming', 'recovered');
END
$$;

-- Runs that a person drives in a browser never have a heartbeat and are left alone.
CREATE FUNCTION public.fn_claim_stale_workflow_run(
    p_worker_id text, p_stale_after_ms integer DEFAULT 60000, p_max_claims integer DEFAULT 1
) RETURNS TABLE (
    run_id uuid, workflow_id uuid, parent_run_id uuid, recursion_depth integer, previous_status text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
BEGIN
    IF coalesce(btrim(p_worker_id), '') = '' THEN
        RAISE EXCEPTION 'worker id is required' USING ERRCODE = '22023';
    END IF;
    RETURN QUERY
    WITH stale AS (
        SELECT run.id, run.status FROM lenses.workflow_runs AS run
        WHERE run.status IN ('queued', 'running', 'streaming', 'recovered')
          AND run.heartbeat_at < now() - p_stale_after_ms * interval '1 millisecond'
        ORDER BY coalesce(run.heartbeat_at, run.started_at, run.created_at)
        LIMIT greatest(p_max_claims, 1) FOR UPDATE SKIP LOCKED
    )
    UPDATE lenses.workflow_runs AS run
    SET status = 'recovered', run_worker_id = p_worker_id, heartbeat_at = now()
    FROM stale WHERE run.id = stale.id
    RETURNING run.id, run.workflow_id, run.parent_run_id, run.recursion_depth, stale.status;
END
$$;

CREATE FUNCTION public.fn_worker_get_run_exec_context(p_run_id uuid)
RETURNS TABLE (workflow_id uuid, context_inputs jsonb, global_model_id text, ai_lenser_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT run.workflow_id, run.context_inputs, run.global_model_id, run.ai_lenser_id
    FROM lenses.workflow_runs AS run WHERE run.id = p_run_id
$$;

CREATE FUNCTION public.fn_worker_get_workflow_context(p_run_id uuid)
RETURNS TABLE (workflow_id uuid, triggered_by uuid, workspace_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT run.workflow_id, run.triggered_by, (
        SELECT space.id FROM tenancy.workspaces AS space
        WHERE space.owner_lenser_id = workflow.lenser_id AND space.type = 'personal' AND space.status = 'active'
        ORDER BY space.created_at LIMIT 1)
    FROM lenses.workflow_runs AS run JOIN lenses.workflows AS workflow ON workflow.id = run.workflow_id
    WHERE run.id = p_run_id
$$;

-- The graph as it is now, whatever version a run is bound to; without conditions, strategies and labels.
CREATE FUNCTION public.fn_worker_get_workflow_graph(p_workflow_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'nodes', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', node.id, 'lens_id', node.lens_id, 'version_id', node.version_id, 'config', node.config)
                ORDER BY node.ordinal)
            FROM lenses.workflow_nodes AS node WHERE node.workflow_id = p_workflow_id), '[]'),
        'edges', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', edge.id, 'source_node_id', edge.source_node_id, 'target_node_id', edge.target_node_id,
                'source_output_key', edge.source_output_key, 'target_param_label', edge.target_param_label))
            FROM lenses.workflow_edges AS edge WHERE edge.workflow_id = p_workflow_id), '[]'))
$$;

CREATE FUNCTION agents.fn_build_lenser_prompt_context(
    p_ai_lenser_id uuid, p_scope text DEFAULT NULL, p_limit integer DEFAULT 20
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN (
        SELECT '## Context Memory' || E'\n'
               || string_agg('- (' || found.scope || '/' || found.source || ') ' || found.content, E'\n') || E'\n\n'
        FROM (SELECT memory.scope, memory.source, memory.content FROM agents.memories AS memory
              WHERE memory.ai_lenser_id = p_ai_lenser_id AND NOT memory.is_redacted
                AND (memory.expires_at IS NULL OR memory.expires_at > now())
                AND (p_scope IS NULL OR memory.scope = p_scope)
              ORDER BY memory.created_at DESC LIMIT least(greatest(p_limit, 1), 50)) AS found
        HAVING count(*) > 0);
END
$$;

CREATE FUNCTION public.fn_build_lenser_prompt_context(p_ai_lenser_id uuid, p_limit integer DEFAULT 20) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT agents.fn_build_lenser_prompt_context(p_ai_lenser_id, NULL, p_limit)
$$;

CREATE FUNCTION public.fn_get_version_contracts(p_version_id uuid)
RETURNS TABLE (version_id uuid, input_contract jsonb, output_contract jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT version.id, version.input_contract, version.output_contract
    FROM lenses.versions AS version WHERE version.id = p_version_id
$$;

-- Status is overwritten whatever it was; the other columns keep what they have where the new value is NULL.
CREATE FUNCTION public.fn_worker_upsert_node_result(
    p_run_id uuid, p_node_id uuid, p_status text, p_output_data jsonb DEFAULT NULL,
    p_error_message text DEFAULT NULL, p_resolved_input_snapshot jsonb DEFAULT NULL,
    p_provider_route jsonb DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_begins boolean := p_status IN ('running', 'streaming', 'retrying');
    v_ends boolean := p_status IN (
        'completed', 'failed', 'timed_out', 'cancelled', 'blocked', 'invalidated', 'skipped');
BEGIN
    INSERT INTO lenses.workflow_node_results AS result (
        run_id, node_id, status, output_data, error_message, resolved_input_snapshot, provider_route,
        started_at, completed_at
    ) VALUES (
        p_run_id, p_node_id, p_status, p_output_data, p_error_message, p_resolved_input_snapshot, p_provider_route,
        CASE WHEN v_begins THEN now() END, CASE WHEN v_ends THEN now() END
    )
    ON CONFLICT (run_id, node_id) DO UPDATE
        SET status = excluded.status,
            output_data = coalesce(excluded.output_data, result.output_data),
            error_message = coalesce(excluded.error_message, result.error_message),
            resolved_input_snapshot = coalesce(excluded.resolved_input_snapshot, result.resolved_input_snapshot),
            provider_route = coalesce(excluded.provider_route, result.provider_route),
            started_at = coalesce(result.started_at, excluded.started_at),
            completed_at = coalesce(excluded.completed_at, result.completed_at);
END
$$;

-- The older form; calls with five arguments or fewer fit both and are refused as ambiguous.
CREATE FUNCTION public.fn_worker_upsert_node_result(
    p_run_id uuid, p_node_id uuid, p_status text, p_output_data jsonb DEFAULT NULL, p_error_message text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM public.fn_worker_upsert_node_result(
        p_run_id, p_node_id, p_status, p_output_data, p_error_message, NULL::jsonb, NULL::jsonb);
END
$$;

CREATE FUNCTION public.fn_worker_insert_workflow_media_object(
    p_workspace_id uuid, p_owner_lenser_id uuid, p_run_id uuid, p_node_id uuid, p_external_url text,
    p_mime_type text, p_media_type text, p_name text
) RETURNS uuid
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    INSERT INTO media.objects (
        workspace_id, owner_lenser_id, external_url, mime_type, media_type, name, visibility, lifecycle_state, metadata
    ) VALUES (
        p_workspace_id, p_owner_lenser_id, p_external_url, p_mime_type, p_media_type, p_name, 'private', 'active',
        jsonb_build_object('workflow_run_id', p_run_id, 'node_id', p_node_id)
    ) RETURNING id
$$;

CREATE FUNCTION public.fn_worker_set_workflow_run_status(p_run_id uuid, p_status text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_ends boolean := p_status IN ('completed', 'failed', 'cancelled', 'timed_out');
BEGIN
    UPDATE lenses.workflow_runs AS run
    SET status = p_status,
        started_at = CASE WHEN p_status IN ('running', 'streaming') THEN coalesce(run.started_at, now())
                          ELSE run.started_at END,
        completed_at = CASE WHEN v_ends THEN now() ELSE run.completed_at END,
        run_worker_id = CASE WHEN v_ends THEN NULL ELSE run.run_worker_id END
    WHERE run.id = p_run_id;
END
$$;

CREATE FUNCTION public.fn_mcp_workflow_run_status(p_run_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'id', run.id, 'workflow_id', run.workflow_id, 'status', run.status, 'trigger_mode', run.trigger_mode,
        'context_inputs', run.context_inputs, 'started_at', run.started_at, 'completed_at', run.completed_at,
        'active_node_id', run.active_node_id, 'spent_credits', run.spent_credits,
        'budget_credits', run.budget_credits, 'cost_metadata', run.cost_metadata, 'metadata', run.metadata,
        'created_at', run.created_at)
    FROM lenses.workflow_runs AS run WHERE run.id = p_run_id
$$;

CREATE FUNCTION public.fn_mcp_workflow_run_logs(p_run_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'run', (SELECT jsonb_build_object(
                    'id', run.id, 'status', run.status, 'metadata', run.metadata,
                    'cost_metadata', run.cost_metadata, 'started_at', run.started_at,
                    'completed_at', run.completed_at)
                FROM lenses.workflow_runs AS run WHERE run.id = p_run_id),
        'node_results', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', result.id, 'node_id', result.node_id, 'status', result.status,
                'output_data', result.output_data, 'error_message', result.error_message,
                'started_at', result.started_at, 'completed_at', result.completed_at,
                'input_tokens', result.input_tokens, 'output_tokens', result.output_tokens,
                'cost_credits', result.cost_credits))
            FROM lenses.workflow_node_results AS result WHERE result.run_id = p_run_id), '[]'))
$$;

CREATE FUNCTION public.fn_mcp_workflow_run_start(
    p_workflow_id uuid, p_inputs jsonb DEFAULT '{}', p_global_model_id text DEFAULT NULL,
    p_idempotency_key text DEFAULT NULL, p_metadata jsonb DEFAULT '{}'
) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_run uuid;
BEGIN
    INSERT INTO lenses.workflow_runs (
        workflow_id, triggered_by, status, trigger_mode, context_inputs, global_model_id, idempotency_key, metadata
    )
    SELECT workflow.id, workflow.lenser_id, 'pending', 'api', p_inputs, p_global_model_id, p_idempotency_key, p_metadata
    FROM lenses.workflows AS workflow WHERE workflow.id = p_workflow_id
    RETURNING id INTO v_run;
    INSERT INTO lenses.workflow_node_results (run_id, node_id)
    SELECT v_run, node.id FROM lenses.workflow_nodes AS node WHERE node.workflow_id = p_workflow_id;
    RETURN jsonb_build_object('run_id', v_run, 'status', 'pending');
END
$$;

CREATE FUNCTION lenses.fn_move_workflow_run_to_dlq(
    p_run_id uuid, p_node_id text DEFAULT NULL, p_error_code text DEFAULT NULL, p_error_msg text DEFAULT NULL,
    p_payload jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_letter uuid;
BEGIN
    INSERT INTO lenses.workflow_run_dead_letters (run_id, node_id, error_code, error_message, payload)
    VALUES (p_run_id, p_node_id, p_error_code, p_error_msg, p_payload) RETURNING id INTO v_letter;
    RETURN v_letter;
END
$$;

CREATE FUNCTION public.fn_timeout_stale_runs(p_stale_threshold_hours integer DEFAULT 4) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_runs uuid[];
BEGIN
    WITH ended AS (
        UPDATE lenses.workflow_runs AS run SET status = 'timed_out', completed_at = now()
        WHERE run.status IN ('running', 'streaming', 'recovered')
          AND coalesce(run.heartbeat_at, run.started_at) < now() - p_stale_threshold_hours * interval '1 hour'
        RETURNING run.id)
    SELECT array_agg(ended.id) INTO v_runs FROM ended;
    UPDATE lenses.workflow_node_results AS result
    SET status = 'timed_out', completed_at = now(), error_message = 'run_timed_out_by_sweeper'
    WHERE result.run_id = ANY (v_runs) AND result.status NOT IN (
        'completed', 'failed', 'timed_out', 'cancelled', 'blocked', 'invalidated', 'skipped');
    RETURN coalesce(cardinality(v_runs), 0);
END
$$;

CREATE FUNCTION lenses.fn_check_workflow_budget(p_run_id uuid, p_estimated_cost integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN (SELECT run.budget_credits IS NULL OR run.spent_credits + p_estimated_cost <= run.budget_credits
            FROM lenses.workflow_runs AS run WHERE run.id = p_run_id);
END
$$;

CREATE FUNCTION public.fn_cancel_workflow_run_over_budget(p_run_id uuid, p_pending_credits integer DEFAULT 0)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE lenses.workflow_runs AS run SET status = 'cancelled', completed_at = now()
    WHERE run.id = p_run_id AND run.spent_credits + p_pending_credits > run.budget_credits
      AND run.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out');
    RETURN FOUND;
END
$$;

-- For the person whose run it is; a worker has no session of theirs and is refused.
CREATE FUNCTION public.fn_append_workflow_run_event(p_run_id uuid, p_type text, p_payload jsonb DEFAULT '{}')
RETURNS TABLE (event_id bigint, created_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM lenses.workflow_runs AS run
                   WHERE run.id = p_run_id AND run.triggered_by = lensers.get_auth_lenser_id()) THEN
        RAISE EXCEPTION 'Authentication required' USING ERRCODE = '42501';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext(p_run_id::text));
    RETURN QUERY
    INSERT INTO lenses.workflow_run_events AS logged (run_id, event_id, type, payload)
    SELECT p_run_id, coalesce(max(before.event_id), 0) + 1, p_type, p_payload
    FROM lenses.workflow_run_events AS before WHERE before.run_id = p_run_id
    RETURNING logged.event_id, logged.created_at;
END
$$;

CREATE FUNCTION public.fn_workflows_evaluate_condition(p_condition jsonb, p_event jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN NOT EXISTS (SELECT FROM jsonb_each(coalesce(p_condition, '{}')) AS wanted
                       WHERE p_event -> wanted.key IS DISTINCT FROM wanted.value);
END
$$;

-- Start the workflows that wait for an event, each at most once an hour for one status of one battle.
CREATE FUNCTION public.fn_workflows_dispatch_on_event(p_event_type text, p_event_payload jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_trigger lenses.workflow_triggers;
    v_key text;
    v_count integer := 0;
BEGIN
    FOR v_trigger IN
        SELECT * FROM lenses.workflow_triggers AS waiting
        WHERE waiting.enabled AND waiting.trigger_type = p_event_type
          AND public.fn_workflows_evaluate_condition(waiting.condition, p_event_payload)
    LOOP
        v_key := concat_ws(':', p_event_type, p_event_payload ->> 'battle_id', p_event_payload ->> 'status', v_trigger.id);
        PERFORM pg_advisory_xact_lock(hashtext(v_key));
        CONTINUE WHEN EXISTS (
            SELECT FROM lenses.workflow_runs AS run
            WHERE run.workflow_id = v_trigger.workflow_id AND run.idempotency_key = v_key
              AND run.created_at > now() - interval '1 hour');
        INSERT INTO lenses.workflow_runs (
            workflow_id, status, trigger_mode, context_inputs, idempotency_key, idempotency_expires_at
        ) VALUES (
            v_trigger.workflow_id, 'pending', 'schedule', p_event_payload, v_key, now() + interval '1 hour'
        );
        UPDATE lenses.workflow_triggers SET last_fired_at = now() WHERE id = v_trigger.id;
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END
$$;

CREATE FUNCTION public.fn_workflows_chain_run(
    p_parent_run_id uuid, p_child_workflow_id uuid, p_input jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_run uuid;
BEGIN
    INSERT INTO lenses.workflow_runs (
        workflow_id, status, trigger_mode, context_inputs, parent_run_id, recursion_depth, triggered_by
    )
    SELECT p_child_workflow_id, 'pending', 'schedule', p_input, parent.id, parent.recursion_depth + 1, parent.triggered_by
    FROM lenses.workflow_runs AS parent WHERE parent.id = p_parent_run_id
    RETURNING id INTO v_run;
    INSERT INTO lenses.workflow_run_chains (parent_run_id, child_run_id) VALUES (p_parent_run_id, v_run);
    RETURN v_run;
END
$$;

CREATE FUNCTION public.fn_workflows_webhook_trigger(p_workflow_id uuid, p_secret text, p_payload jsonb DEFAULT '{}')
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_run uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM lenses.workflow_triggers AS waiting
                   WHERE waiting.workflow_id = p_workflow_id AND waiting.trigger_type = 'webhook'
                     AND waiting.enabled AND waiting.webhook_secret = p_secret) THEN
        RAISE EXCEPTION 'invalid_secret' USING ERRCODE = '42501';
    END IF;
    INSERT INTO lenses.workflow_runs (workflow_id, status, trigger_mode, context_inputs)
    VALUES (p_workflow_id, 'pending', 'schedule', p_payload) RETURNING id INTO v_run;
    RETURN v_run;
END
$$;

DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace
          AND p.proname ~ '^fn_(worker_(claim_scheduled|get_run|get_workflow|upsert_node|insert_workflow|set_workflow)|heartbeat_workflow|claim_stale|mcp_workflow|workflows_|timeout_stale|cancel_workflow)'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated', v_function);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', v_function);
    END LOOP;
    REVOKE ALL ON FUNCTION lenses.fn_claim_scheduled_workflow_run(text) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION lenses.fn_claim_scheduled_workflow_run(text) TO service_role;
END
$$;
