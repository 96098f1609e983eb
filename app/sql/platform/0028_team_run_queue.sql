-- How workers take team runs, what they may write to them, and how their owners decide about them.

CREATE FUNCTION agents.fn_claim_team_run(p_worker_id text DEFAULT NULL)
RETURNS TABLE (id uuid, ai_lenser_id uuid, workflow_id uuid, workflow_run_id uuid, metadata jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    v_claimed agents.team_runs;
BEGIN
    UPDATE agents.team_runs AS run
    SET status = 'running', started_at = now(), updated_at = now(),
        metadata = run.metadata || jsonb_build_object('claimed_by', p_worker_id, 'claimed_at', now())
    WHERE run.id = (
        SELECT waiting.id FROM agents.team_runs AS waiting
        WHERE waiting.status = 'queued' AND waiting.approval_status IN ('not_required', 'approved')
        ORDER BY waiting.created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING * INTO v_claimed;
    IF v_claimed.id IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO agents.agent_run_events (team_run_id, event_type, payload)
    VALUES (v_claimed.id, 'dispatch_started', jsonb_build_object('worker_id', p_worker_id));
    RETURN QUERY SELECT v_claimed.id, v_claimed.ai_lenser_id, v_claimed.workflow_id, v_claimed.workflow_run_id,
                        v_claimed.metadata;
END
$$;

CREATE FUNCTION public.fn_worker_claim_team_run() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN (SELECT to_jsonb(run) FROM agents.fn_claim_team_run() AS claimed
            JOIN agents.team_runs AS run ON run.id = claimed.id);
END
$$;

CREATE FUNCTION public.fn_worker_create_team_run_workflow_run(p_team_run_id uuid, p_worker_id text)
RETURNS TABLE (run_id uuid, workflow_id uuid, context_inputs jsonb, global_model_id text, ai_lenser_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    v_team_run agents.team_runs;
    v_run uuid;
BEGIN
    SELECT * INTO v_team_run FROM agents.team_runs AS run WHERE run.id = p_team_run_id;
    IF v_team_run.workflow_id IS NULL THEN
        RAISE EXCEPTION 'team run % is unknown or has no workflow', p_team_run_id USING ERRCODE = '22023';
    END IF;
    v_run := v_team_run.workflow_run_id;
    IF v_run IS NULL THEN
        INSERT INTO lenses.workflow_runs (
            workflow_id, status, trigger_mode, context_inputs, ai_lenser_id, run_worker_id, heartbeat_at, started_at,
            recursion_depth
        ) VALUES (
            v_team_run.workflow_id, 'running', 'subflow', coalesce(v_team_run.metadata -> 'inputs', '{}'),
            v_team_run.ai_lenser_id, p_worker_id, now(), now(), v_team_run.recursion_depth
        ) RETURNING id INTO v_run;
        UPDATE agents.team_runs SET workflow_run_id = v_run WHERE id = p_team_run_id;
    ELSE
        UPDATE lenses.workflow_runs AS run
        SET status = 'running', run_worker_id = p_worker_id, heartbeat_at = now(),
            started_at = coalesce(run.started_at, now())
        WHERE run.id = v_run AND run.status IN ('queued', 'pending', 'running', 'streaming', 'recovered');
    END IF;
    RETURN QUERY SELECT v_run, v_team_run.workflow_id, coalesce(v_team_run.metadata -> 'inputs', '{}'), NULL::text,
                        v_team_run.ai_lenser_id;
END
$$;

CREATE FUNCTION public.fn_worker_finalize_team_run(p_team_run_id uuid, p_status text, p_error_message text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF p_status NOT IN ('completed', 'failed', 'cancelled') THEN
        RAISE EXCEPTION 'invalid status %', p_status USING ERRCODE = '22023';
    END IF;
    UPDATE agents.team_runs AS run
    SET status = p_status, completed_at = now(), updated_at = now(),
        metadata = run.metadata || CASE WHEN p_error_message IS NULL THEN '{}'
                                        ELSE jsonb_build_object('error', p_error_message) END
    WHERE run.id = p_team_run_id;
END
$$;

CREATE FUNCTION public.fn_worker_update_team_run(
    p_team_run_id uuid, p_status text, p_completed_at timestamptz DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    UPDATE agents.team_runs AS run
    SET status = p_status, completed_at = coalesce(p_completed_at, run.completed_at), updated_at = now()
    WHERE run.id = p_team_run_id
$$;

CREATE FUNCTION public.fn_worker_update_team_run_status(
    p_team_run_id uuid, p_status text, p_completed_at timestamptz DEFAULT NULL
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT public.fn_worker_update_team_run(p_team_run_id, p_status, p_completed_at)
$$;

CREATE FUNCTION public.fn_worker_get_team_run(p_team_run_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT to_jsonb(run) FROM agents.team_runs AS run WHERE run.id = p_team_run_id
$$;

CREATE FUNCTION public.fn_worker_get_delegation_context(p_team_run_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'team_run', to_jsonb(run), 'team', to_jsonb(team),
        'members', coalesce((SELECT jsonb_agg(to_jsonb(member) ORDER BY member.sort_order)
                             FROM agents.team_members AS member WHERE member.team_id = run.team_id), '[]'))
    FROM agents.team_runs AS run LEFT JOIN agents.teams AS team ON team.id = run.team_id
    WHERE run.id = p_team_run_id
$$;

CREATE FUNCTION agents.fn_start_team_run(
    p_ai_lenser_id uuid, p_workflow_id uuid, p_inputs jsonb DEFAULT '{}', p_policy text DEFAULT 'auto'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_parent uuid := p_inputs ->> '_parent_team_run_id';
    v_depth integer := 0;
    v_team_run agents.team_runs;
BEGIN
    IF p_policy = 'forbidden' THEN
        RAISE EXCEPTION 'delegation_forbidden' USING ERRCODE = 'P0001';
    ELSIF p_policy NOT IN ('auto', 'approval_required') THEN
        RAISE EXCEPTION 'unknown policy %', p_policy USING ERRCODE = '23514';
    END IF;
    IF v_parent IS NOT NULL THEN
        SELECT parent.recursion_depth + 1 INTO v_depth FROM agents.team_runs AS parent WHERE parent.id = v_parent;
    END IF;
    IF v_depth > 8 THEN
        RAISE EXCEPTION 'team_run_recursion_cap_exceeded: depth %', v_depth USING ERRCODE = '54000';
    END IF;
    INSERT INTO agents.team_runs (
        ai_lenser_id, workflow_id, status, approval_status, parent_team_run_id, recursion_depth, metadata
    ) VALUES (
        p_ai_lenser_id, p_workflow_id, CASE p_policy WHEN 'auto' THEN 'queued' ELSE 'blocked' END,
        CASE p_policy WHEN 'auto' THEN 'not_required' ELSE 'pending' END, v_parent, coalesce(v_depth, 0),
        jsonb_build_object('inputs', p_inputs - '_parent_team_run_id', 'origin', 'delegate_to_agent',
                           'delegation_policy', p_policy)
    ) RETURNING * INTO v_team_run;
    INSERT INTO agents.agent_run_events (team_run_id, event_type)
    VALUES (v_team_run.id, CASE v_team_run.status WHEN 'queued' THEN 'dispatch_queued' ELSE 'approval_requested' END);
    RETURN v_team_run.id;
END
$$;

CREATE FUNCTION public.fn_start_team_run(
    p_ai_lenser_id uuid, p_workflow_id uuid, p_inputs jsonb DEFAULT '{}', p_policy text DEFAULT 'auto'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF auth.role() IS DISTINCT FROM 'service_role' AND NOT EXISTS (
        SELECT FROM agents.ownerships AS owned
        WHERE owned.ai_lenser_id = p_ai_lenser_id AND owned.owner_lenser_id = lensers.get_auth_lenser_id()
          AND owned.role = 'owner' AND owned.revoked_at IS NULL
    ) THEN
        RAISE EXCEPTION 'access_denied' USING ERRCODE = 'P0001', HINT = 'p0403';
    END IF;
    RETURN agents.fn_start_team_run(p_ai_lenser_id, p_workflow_id, p_inputs, p_policy);
END
$$;

-- The owner's word about a run that waits for it: approved, rejected or modified.
CREATE FUNCTION public.fn_decide_approval(
    p_team_run_id uuid, p_decision text, p_reason text DEFAULT NULL, p_modifications jsonb DEFAULT NULL
) RETURNS TABLE (
    request_id uuid, ai_lenser_id uuid, team_id uuid, workflow_id uuid, workflow_run_id uuid,
    workflow_assignment_id uuid, approval_status text, run_status text, metadata jsonb, decided_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    v_yes boolean := p_decision IN ('approved', 'modified');
    v_run agents.team_runs;
BEGIN
    UPDATE agents.team_runs AS run
    SET approval_status = CASE WHEN v_yes THEN 'approved' ELSE 'rejected' END,
        status = CASE WHEN v_yes THEN 'queued' ELSE 'failed' END,
        completed_at = CASE WHEN v_yes THEN NULL ELSE now() END,
        updated_at = now(),
        metadata = run.metadata || jsonb_strip_nulls(jsonb_build_object(
            'decision_reason', p_reason, 'decision_modifications', p_modifications))
    WHERE run.id = p_team_run_id AND run.approval_status = 'pending' AND EXISTS (
        SELECT FROM agents.ownerships AS owned
        WHERE owned.ai_lenser_id = run.ai_lenser_id AND owned.owner_lenser_id = lensers.get_auth_lenser_id())
    RETURNING * INTO v_run;
    IF v_run.id IS NULL THEN
        RAISE EXCEPTION 'access_denied' USING ERRCODE = 'P0001';
    END IF;
    UPDATE lenses.workflow_runs AS run
    SET status = CASE WHEN v_yes THEN 'queued' ELSE 'failed' END
    WHERE run.id = v_run.workflow_run_id AND run.status IN ('pending', 'pending_approval');
    INSERT INTO agents.agent_run_events (team_run_id, event_type)
    VALUES (v_run.id, CASE p_decision WHEN 'approved' THEN 'approval_granted' WHEN 'modified' THEN 'approval_modified'
                                      ELSE 'approval_rejected' END);
    RETURN QUERY SELECT v_run.id, v_run.ai_lenser_id, v_run.team_id, v_run.workflow_id, v_run.workflow_run_id,
                        v_run.workflow_assignment_id, v_run.approval_status, v_run.status, v_run.metadata, now();
END
$$;

CREATE FUNCTION public.fn_expire_stale_approvals() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_runs uuid[];
BEGIN
    WITH expired AS (
        UPDATE agents.team_runs AS run
        SET status = 'cancelled', approval_status = 'timed_out', completed_at = now(), updated_at = now()
        WHERE run.status = 'blocked' AND run.approval_status = 'pending' AND run.created_at < now()
            - coalesce(nullif(current_setting('app.approval_timeout_hours', true), ''), '24')::integer * interval '1 hour'
        RETURNING run.workflow_run_id)
    SELECT array_agg(expired.workflow_run_id) INTO v_runs FROM expired;
    UPDATE lenses.workflow_runs AS run SET status = 'timed_out', completed_at = now()
    WHERE run.id = ANY (v_runs) AND run.status IN ('pending', 'pending_approval', 'queued');
    RETURN coalesce(cardinality(v_runs), 0);
END
$$;

CREATE FUNCTION public.fn_cancel_run(p_team_run_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_run uuid;
BEGIN
    UPDATE agents.team_runs AS run SET status = 'cancelled', completed_at = now(), updated_at = now()
    WHERE run.id = p_team_run_id AND run.status IN ('queued', 'running', 'blocked') AND EXISTS (
        SELECT FROM agents.ownerships AS owned
        WHERE owned.ai_lenser_id = run.ai_lenser_id AND owned.owner_lenser_id = lensers.get_auth_lenser_id())
    RETURNING run.workflow_run_id INTO v_run;
    UPDATE lenses.workflow_runs AS run SET status = 'cancelled', completed_at = now()
    WHERE run.id = v_run AND run.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out');
END
$$;

-- A team with an active reviewer has what its other members do reviewed.
CREATE FUNCTION agents.fn_node_requires_review(p_team_run_id uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM agents.team_runs AS run JOIN agents.team_members AS member ON member.team_id = run.team_id
        WHERE run.id = p_team_run_id AND member.role = 'reviewer' AND member.is_active)
$$;

DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace IN ('public'::regnamespace, 'agents'::regnamespace)
          AND p.proname ~ '^fn_(worker_(claim_team|create_team|finalize_team|update_team|get_team|get_delegation)|claim_team|start_team|node_requires|build_lenser)'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, anon, authenticated', v_function);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO service_role', v_function);
    END LOOP;
    GRANT EXECUTE ON FUNCTION public.fn_start_team_run(uuid, uuid, jsonb, text) TO authenticated;
END
$$;
