-- Team runs: which may begin, how one is claimed together with its workflow run, what members write, the end.

ALTER TABLE worker.claims DROP CONSTRAINT claims_outcome_check;
ALTER TABLE worker.claims ADD CONSTRAINT claims_outcome_check CHECK (outcome IN (
    'succeeded', 'failed', 'poison', 'gone', 'requeued', 'handed_over',
    'blocked'  -- a person must decide; the decision brings a new ticket
));

-- A number from the settings of an agent's workspace, or null; the platform's columns are read by name, so that
-- one that is missing is only not enforced.
CREATE FUNCTION worker.fn_workspace_setting(p_ai_lenser_id uuid, p_name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_value text;
BEGIN
    IF to_regclass('agents.workspace_settings') IS NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE 'SELECT to_jsonb(s) ->> $2 FROM agents.workspace_settings s
             WHERE to_jsonb(s) ->> ''ai_lenser_id'' = $1::text LIMIT 1'
    INTO v_value USING p_ai_lenser_id, p_name;
    RETURN v_value;
END $$;

-- Why an agent may begin no team run now, or null: killed, paused, over its budget or its parallel runs.
CREATE FUNCTION worker.fn_team_run_hindrance(p_ai_lenser_id uuid) RETURNS text
LANGUAGE sql STABLE SET search_path = worker, public AS $$
    SELECT CASE
        WHEN fn_kill_switch_active('agent', p_ai_lenser_id) OR 'true' IN (
            worker.fn_workspace_setting(p_ai_lenser_id, 'global_kill_switch')) THEN 'kill_switch'
        WHEN NOT EXISTS (SELECT FROM agents.ai_lensers a WHERE a.id = p_ai_lenser_id AND a.is_active
                         AND a.suspended_at IS NULL AND a.deleted_at IS NULL) THEN 'agent_inactive'
        WHEN 'true' IN (worker.fn_workspace_setting(p_ai_lenser_id, 'agent_paused'),
                        worker.fn_workspace_setting(p_ai_lenser_id, 'runner_paused')) THEN 'paused'
        WHEN EXISTS (
            SELECT FROM agents.quota_snapshots q
            WHERE q.ai_lenser_id = p_ai_lenser_id AND q.period_date = current_date AND q.credits_spent >= least(
                (SELECT nullif(p.spending_limit_credits, 0) FROM agents.policies p WHERE p.ai_lenser_id = p_ai_lenser_id),
                CASE WHEN worker.fn_workspace_setting(p_ai_lenser_id, 'budget_enforce') = 'true'
                     THEN worker.fn_workspace_setting(p_ai_lenser_id, 'max_daily_credits')::bigint END)
        ) THEN 'budget_exceeded'
        WHEN (SELECT count(*) FROM agents.team_runs t JOIN worker.claims c
                  ON c.kind = 'team_run' AND c.job = t.id AND c.finished_at IS NULL
              WHERE t.ai_lenser_id = p_ai_lenser_id AND t.status = 'running')
             >= worker.fn_workspace_setting(p_ai_lenser_id, 'max_parallel_runs')::bigint THEN 'parallel_limit'
    END
$$;

CREATE VIEW worker.wanted_team_runs AS
    SELECT t.id, t.ai_lenser_id, t.created_at
    FROM agents.team_runs t
    WHERE t.status = 'queued' AND t.approval_status IN ('not_required', 'approved');

CREATE VIEW worker.waiting_team_runs AS
    SELECT t.* FROM worker.wanted_team_runs t
    WHERE NOT EXISTS (SELECT FROM worker.claims c
                      WHERE c.kind = 'team_run' AND c.job = t.id AND c.finished_at IS NULL);
COMMENT ON VIEW worker.waiting_team_runs IS 'Team runs that a worker may take now, limits apart.';

-- A JSON object as it is, and an empty one for anything else.
CREATE FUNCTION worker.fn_object(p_value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(p_value) = 'object' THEN p_value ELSE '{}' END
$$;

-- What a team run was started with, and what its owner changed when approving it.
CREATE FUNCTION worker.fn_team_inputs(p_metadata jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT worker.fn_object(p_metadata -> 'inputs') || CASE WHEN c.changes ? 'inputs'
        THEN worker.fn_object(c.changes -> 'inputs') ELSE c.changes END
    FROM (SELECT worker.fn_object(p_metadata -> 'decision_modifications') AS changes) AS c
$$;

-- The workflow run of a team run, begun: the linked one if it is there and has not ended, else a new one. It
-- keeps its own inputs, under those of the team run and what the owner changed when approving. One that
-- another worker is executing is not taken from it.
CREATE FUNCTION worker.fn_worker_create_team_run_workflow_run(p_team_run_id uuid, p_worker_id text)
RETURNS TABLE (run_id uuid, workflow_id uuid, context_inputs jsonb, global_model_id text, ai_lenser_id uuid)
LANGUAGE plpgsql SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    v_team agents.team_runs;
    v_inputs jsonb;
    v_run uuid;
BEGIN
    SELECT * INTO v_team FROM agents.team_runs t WHERE t.id = p_team_run_id FOR NO KEY UPDATE;
    IF v_team.workflow_id IS NULL THEN
        RAISE EXCEPTION 'team run % is unknown or has no workflow', p_team_run_id USING ERRCODE = '22023';
    END IF;
    v_inputs := worker.fn_team_inputs(v_team.metadata);
    SELECT r.id INTO v_run FROM lenses.workflow_runs r
    WHERE r.id = v_team.workflow_run_id AND (
        r.status IN ('pending', 'pending_approval', 'queued')
        OR (r.status IN ('running', 'streaming', 'recovered')
            AND (coalesce(r.run_worker_id, 'lf-worker/') LIKE 'lf-worker/%'
                 OR coalesce(r.heartbeat_at, '-infinity') < now() - interval '90 seconds')))
    FOR NO KEY UPDATE;
    IF v_run IS NULL AND v_team.workflow_run_id IS NOT NULL THEN
        RETURN;
    ELSIF v_run IS NULL THEN
        INSERT INTO lenses.workflow_runs (
            workflow_id, triggered_by, status, trigger_mode, context_inputs, ai_lenser_id, recursion_depth)
        SELECT v_team.workflow_id, (
                   SELECT o.owner_lenser_id FROM agents.ownerships o
                   WHERE o.ai_lenser_id = v_team.ai_lenser_id AND o.role = 'owner' AND o.revoked_at IS NULL),
               'pending', 'subflow', v_inputs, v_team.ai_lenser_id, least(greatest(v_team.recursion_depth, 0), 8)
        RETURNING id INTO v_run;
        UPDATE agents.team_runs t SET workflow_run_id = v_run WHERE t.id = p_team_run_id;
    ELSE
        UPDATE lenses.workflow_runs r
        SET context_inputs = r.context_inputs || v_inputs, ai_lenser_id = coalesce(r.ai_lenser_id, v_team.ai_lenser_id)
        WHERE r.id = v_run;
    END IF;
    PERFORM worker.fn_begin_workflow_run(v_run);
    UPDATE lenses.workflow_runs r SET run_worker_id = 'lf-worker/' || p_worker_id WHERE r.id = v_run;
    RETURN QUERY SELECT r.id, r.workflow_id, r.context_inputs, r.global_model_id, r.ai_lenser_id
                 FROM lenses.workflow_runs r WHERE r.id = v_run;
END $$;

-- Delegation from a run to another agent; the platform's public function wants a session of the agent's owner.
CREATE FUNCTION worker.fn_start_team_run(
    p_ai_lenser_id uuid, p_workflow_id uuid, p_inputs jsonb DEFAULT '{}', p_policy text DEFAULT 'auto'
) RETURNS uuid
LANGUAGE sql SET search_path = '' AS $$
    SELECT agents.fn_start_team_run(p_ai_lenser_id, p_workflow_id, p_inputs, p_policy)
$$;

-- A team run as its executor needs it, locked, while it is running; else null. Members are in their order, a
-- team's inactive ones left out; persona is the agent's own note.
CREATE FUNCTION worker.fn_running_team_run(p_team_run_id uuid) RETURNS jsonb
LANGUAGE sql SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'team_run_id', t.id, 'ai_lenser_id', t.ai_lenser_id, 'team_id', t.team_id, 'workflow_id', t.workflow_id,
        'workflow_run_id', t.workflow_run_id, 'inputs', worker.fn_team_inputs(t.metadata),
        'asked', coalesce(t.metadata -> 'asked', '[]'), 'recursion_depth', t.recursion_depth,
        'shared_scratchpad', t.shared_scratchpad, 'shared_scratchpad_version', t.shared_scratchpad_version,
        'profile_id', a.profile_id, 'display_name', coalesce(a.display_name, 'Agent'), 'persona', a.personality_note,
        'owner_lenser_id', (SELECT o.owner_lenser_id FROM agents.ownerships o
                            WHERE o.ai_lenser_id = t.ai_lenser_id AND o.role = 'owner' AND o.revoked_at IS NULL),
        'model_key', (SELECT m.key FROM lensers.profiles p JOIN ai.models m ON m.id = p.ai_model_id
                      WHERE p.id = a.profile_id),
        'members', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'member_id', m.id, 'agent_id', m.agent_id, 'role', m.role, 'responsibility', m.responsibility,
                'lane', m.lane, 'sort_order', m.sort_order, 'profile_id', b.profile_id,
                'display_name', coalesce(b.display_name, 'Agent'), 'persona', b.personality_note,
                'model_key', (SELECT k.key FROM lensers.profiles p JOIN ai.models k ON k.id = p.ai_model_id
                              WHERE p.id = b.profile_id)) ORDER BY m.sort_order, m.lane, m.id)
            FROM agents.team_members m JOIN agents.ai_lensers b ON b.id = m.agent_id
            WHERE m.team_id = t.team_id AND m.is_active AND b.is_active AND b.deleted_at IS NULL), '[]'))
    FROM agents.team_runs t JOIN agents.ai_lensers a ON a.id = t.ai_lenser_id
    WHERE t.id = p_team_run_id AND t.status = 'running'
    FOR NO KEY UPDATE OF t
$$;

-- Claim the team run that a ticket was written for; without one, that which has waited longest, among those whose
-- agent may begin one; and its workflow run with it, unless that has ended or another worker is at it.
CREATE FUNCTION worker.fn_claim_team_run_ticket(p_hint uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_team_run uuid;
    v_workflow uuid;
BEGIN
    IF fn_kill_switch_active('system') THEN
        RETURN NULL;
    END IF;
    IF p_hint IS NULL THEN
        SELECT w.id INTO v_team_run FROM worker.waiting_team_runs w
        WHERE worker.fn_team_run_hindrance(w.ai_lenser_id) IS NULL
        ORDER BY w.created_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    ELSE
        SELECT w.id INTO v_team_run FROM worker.waiting_team_runs w
        WHERE w.id = p_hint AND worker.fn_team_run_hindrance(w.ai_lenser_id) IS NULL
        FOR NO KEY UPDATE SKIP LOCKED;
    END IF;
    IF v_team_run IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE agents.team_runs t
    SET status = 'running', started_at = coalesce(t.started_at, now()), updated_at = now(),
        metadata = (t.metadata - 'error') || jsonb_build_object('claimed_by', 'lf-worker', 'claimed_at', now())
    WHERE t.id = v_team_run RETURNING t.workflow_id INTO v_workflow;
    PERFORM worker.append_team_run_event(v_team_run, 'dispatch_started', '{"worker_id": "lf-worker"}');
    IF v_workflow IS NOT NULL THEN
        PERFORM worker.fn_worker_create_team_run_workflow_run(v_team_run, '');
    END IF;
    RETURN worker.fn_running_team_run(v_team_run);
END $$;

CREATE FUNCTION worker.append_team_run_event(
    p_team_run_id uuid, p_type text, p_payload jsonb DEFAULT '{}', p_step_id uuid DEFAULT NULL
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO agents.agent_run_events (team_run_id, event_type, payload, agent_run_step_id)
    VALUES (p_team_run_id, p_type, p_payload, p_step_id)
$$;

-- Whether what a member did at a node must be reviewed: the team has an active reviewer who is somebody else.
CREATE FUNCTION worker.fn_step_requires_review(p_team_run_id uuid, p_agent_id uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM agents.team_runs t JOIN agents.team_members m ON m.team_id = t.team_id
        WHERE t.id = p_team_run_id AND m.role = 'reviewer' AND m.is_active AND m.agent_id <> p_agent_id)
$$;

-- Send a word from one member to another, or to all. A run takes 1,000 messages; then this raises 54000.
CREATE FUNCTION worker.send_team_message(
    p_team_run_id uuid, p_from uuid, p_to uuid, p_kind text, p_payload jsonb, p_parent uuid DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_message uuid;
BEGIN
    PERFORM FROM agents.team_runs t WHERE t.id = p_team_run_id FOR NO KEY UPDATE;
    IF (SELECT count(*) FROM agents.team_messages m WHERE m.team_run_id = p_team_run_id) >= 1000 THEN
        RAISE EXCEPTION 'team_messages_cap_exceeded' USING ERRCODE = '54000';
    END IF;
    INSERT INTO agents.team_messages (team_run_id, from_agent_id, to_agent_id, parent_message_id, kind, payload)
    VALUES (p_team_run_id, p_from, p_to, p_parent, p_kind, p_payload) RETURNING id INTO v_message;
    RETURN v_message;
END $$;

-- Merge keys into the scratchpad that the members share and give its new version; 40001 when it is no longer
-- at the version that the writer had read, 54000 when it would be longer than 256 KiB.
CREATE FUNCTION worker.merge_shared_scratchpad(p_team_run_id uuid, p_patch jsonb, p_version integer) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_version integer;
BEGIN
    UPDATE agents.team_runs t
    SET shared_scratchpad = t.shared_scratchpad || p_patch, updated_at = now(),
        shared_scratchpad_version = t.shared_scratchpad_version + 1
    WHERE t.id = p_team_run_id AND t.shared_scratchpad_version = p_version
    RETURNING t.shared_scratchpad_version INTO v_version;
    IF v_version IS NULL THEN
        RAISE EXCEPTION 'the shared scratchpad is not at version % any more', p_version USING ERRCODE = '40001';
    ELSIF (SELECT octet_length(t.shared_scratchpad::text) FROM agents.team_runs t WHERE t.id = p_team_run_id) > 262144 THEN
        RAISE EXCEPTION 'team_scratchpad_cap_exceeded' USING ERRCODE = '54000';
    END IF;
    RETURN v_version;
END $$;

-- Record what a member is at: one step for each node, member and title of a run.
CREATE FUNCTION worker.save_team_step(
    p_team_run_id uuid, p_member_id uuid, p_node_id uuid, p_lane integer, p_title text, p_status text,
    p_summary text DEFAULT NULL, p_blocker text DEFAULT NULL, p_payload jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_step uuid;
BEGIN
    UPDATE agents.agent_run_steps s
    SET status = p_status, recent_output_summary = coalesce(p_summary, s.recent_output_summary),
        blocker_summary = p_blocker, payload = s.payload || p_payload, updated_at = now(),
        completed_at = CASE WHEN p_status IN ('completed', 'failed', 'skipped') THEN now() END
    WHERE s.team_run_id = p_team_run_id AND s.title = p_title AND s.lane = p_lane
      AND s.workflow_node_id IS NOT DISTINCT FROM p_node_id AND s.payload ->> 'member_id' IS NOT DISTINCT FROM p_member_id::text
    RETURNING s.id INTO v_step;
    IF v_step IS NULL THEN
        INSERT INTO agents.agent_run_steps (
            team_run_id, workflow_node_id, lane, title, status, recent_output_summary, blocker_summary, payload)
        VALUES (p_team_run_id, p_node_id, p_lane, p_title, p_status, p_summary, p_blocker,
                p_payload || jsonb_build_object('member_id', p_member_id))
        RETURNING id INTO v_step;
    END IF;
    RETURN v_step;
END $$;

-- Whether an attempt may still write to a team run, which it locks:
-- ours | stale (a newer attempt has it) | cancelled | ended (otherwise, or to be run again) | gone (deleted).
CREATE FUNCTION worker.fn_team_verdict(p_message_id uuid, p_attempt integer, p_team_run_id uuid) RETURNS text
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_status text;
BEGIN
    SELECT t.status INTO v_status FROM agents.team_runs t WHERE t.id = p_team_run_id FOR NO KEY UPDATE;
    IF v_status IS NULL THEN
        RETURN 'gone';
    ELSIF NOT EXISTS (SELECT FROM worker.claims c WHERE c.message_id = p_message_id
                      AND c.attempt = p_attempt AND c.state <> 'finished') THEN
        RETURN 'stale';
    ELSIF v_status = 'cancelled' THEN
        RETURN 'cancelled';
    ELSIF v_status <> 'running' THEN
        RETURN 'ended';
    END IF;
    RETURN 'ours';
END $$;

-- Say that a team run is being worked on, and learn whether it still should be: the verdicts above, or killed
-- (a kill switch is on for the run, its agent or everything).
CREATE FUNCTION worker.heartbeat_team_run(p_message_id uuid, p_attempt integer, p_team_run_id uuid) RETURNS text
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_verdict text := worker.fn_team_verdict(p_message_id, p_attempt, p_team_run_id);
    v_agent uuid;
BEGIN
    IF v_verdict <> 'ours' THEN
        RETURN v_verdict;
    END IF;
    UPDATE agents.team_runs t SET updated_at = now() WHERE t.id = p_team_run_id RETURNING t.ai_lenser_id INTO v_agent;
    IF fn_kill_switch_active('run', p_team_run_id) OR fn_kill_switch_active('agent', v_agent) THEN
        RETURN 'killed';
    END IF;
    RETURN 'ours';
END $$;

-- Have a person decide before a team run goes on: it is blocked, holds no claim, and is queued again by the
-- owner's approval. p_asked tells the turn that asked, so that nobody is asked twice about it.
CREATE FUNCTION worker.block_team_run(p_team_run_id uuid, p_asked text, p_reason text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_run uuid;
BEGIN
    UPDATE agents.team_runs t
    SET status = 'blocked', approval_status = 'pending', updated_at = now(),
        metadata = t.metadata || jsonb_build_object(
            'asked', coalesce(t.metadata -> 'asked', '[]') || to_jsonb(p_asked), 'approval_reason', p_reason)
    WHERE t.id = p_team_run_id AND t.status = 'running' RETURNING t.workflow_run_id INTO v_run;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE agents.agent_run_steps s SET status = 'blocked', blocker_summary = p_reason, updated_at = now()
    WHERE s.team_run_id = p_team_run_id AND s.status IN ('queued', 'running');
    UPDATE lenses.workflow_node_results n SET status = 'pending', waiting_reason = 'human_input'
    WHERE n.run_id = v_run AND n.status IN ('running', 'streaming', 'retrying');
    UPDATE lenses.workflow_runs r SET status = 'pending_approval', run_worker_id = NULL, active_node_id = NULL
    WHERE r.id = v_run AND r.status IN ('running', 'streaming', 'recovered');
    PERFORM worker.append_team_run_event(
        p_team_run_id, 'approval_requested', jsonb_build_object('reason', p_reason, 'turn', p_asked));
END $$;

-- Steps that nobody is at any more end with their run.
CREATE FUNCTION worker.fn_close_open_steps(p_team_run_id uuid, p_run_status text) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE agents.agent_run_steps s
    SET status = CASE p_run_status WHEN 'failed' THEN 'failed' ELSE 'skipped' END, updated_at = now(), completed_at = now()
    WHERE s.team_run_id = p_team_run_id AND s.status IN ('queued', 'running', 'blocked')
$$;

-- Tidy up after a team run that somebody else ended while an attempt was at it; the claim ends as gone. False
-- when the attempt is stale itself.
CREATE FUNCTION worker.close_ended_team_run(p_message_id uuid, p_attempt integer, p_team_run_id uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF worker.fn_team_verdict(p_message_id, p_attempt, p_team_run_id) IN ('stale', 'ours') THEN
        RETURN false;
    END IF;
    PERFORM worker.fn_close_open_steps(t.id, t.status) FROM agents.team_runs t
    WHERE t.id = p_team_run_id AND t.status IN ('completed', 'failed', 'cancelled');
    RETURN worker.finish_claim(p_message_id, p_attempt, 'gone') = 'ours';
END $$;

-- What the last nodes of a workflow run gave, by their names, while its graph is still known.
CREATE FUNCTION worker.fn_run_outputs(p_run_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(jsonb_object_agg(coalesce(n.node ->> 'label', n.node ->> 'id'), r.output_data -> 'output'), '{}')
    FROM worker.run_graphs g CROSS JOIN jsonb_array_elements(g.graph -> 'nodes') AS n (node)
    JOIN lenses.workflow_node_results r ON r.run_id = g.run_id AND r.node_id = (n.node ->> 'id')::uuid
    WHERE g.run_id = p_run_id AND r.status = 'completed' AND NOT EXISTS (
        SELECT FROM jsonb_array_elements(g.graph -> 'edges') AS e (edge)
        WHERE e.edge ->> 'source_node_id' = n.node ->> 'id')
$$;

-- End a team run that has not ended: an earlier attempt's error goes, a cancelled one stays cancelled.
CREATE FUNCTION worker.fn_worker_finalize_team_run(
    p_team_run_id uuid, p_status text, p_error_message text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF p_status NOT IN ('completed', 'failed', 'cancelled') THEN
        RAISE EXCEPTION 'invalid status %', p_status USING ERRCODE = '22023';
    END IF;
    UPDATE agents.team_runs t
    SET status = p_status, completed_at = now(), updated_at = now(),
        metadata = (t.metadata - 'error') || CASE WHEN p_error_message IS NULL THEN '{}'
                                                  ELSE jsonb_build_object('error', p_error_message) END
    WHERE t.id = p_team_run_id AND t.status IN ('queued', 'running', 'blocked');
    IF FOUND THEN
        PERFORM worker.fn_close_open_steps(p_team_run_id, p_status);
        PERFORM worker.append_team_run_event(
            p_team_run_id, 'run_' || p_status, jsonb_strip_nulls(jsonb_build_object('error', p_error_message)));
    END IF;
END $$;

-- Fail a team run and its workflow run for a reason.
CREATE FUNCTION worker.fail_team_run(p_team_run_id uuid, p_code text, p_message text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM worker.fail_workflow_run(t.workflow_run_id, p_code, p_message) FROM agents.team_runs t
    WHERE t.id = p_team_run_id AND t.workflow_run_id IS NOT NULL;
    PERFORM worker.fn_worker_finalize_team_run(p_team_run_id, 'failed', p_code || ': ' || p_message);
END $$;

-- Settle team runs that are running with nobody at them: as their workflow run ended; or, where that one's
-- worker died, queued again, a few times. Those that a person drives in a browser have neither and are left.
CREATE FUNCTION worker.settle_team_runs(p_stale_after_ms integer, p_max_recoveries integer)
RETURNS TABLE (team_run_id uuid, outcome text)
LANGUAGE plpgsql SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    v_pair record;
    v_outcome text;
BEGIN
    FOR v_pair IN
        SELECT t.id, r.id AS run_id, r.status, coalesce((t.metadata ->> 'recoveries')::integer, 0) AS recoveries
        FROM agents.team_runs t JOIN lenses.workflow_runs r ON r.id = t.workflow_run_id
        WHERE t.status = 'running'
          AND NOT EXISTS (SELECT FROM worker.claims c
                          WHERE c.kind = 'team_run' AND c.job = t.id AND c.finished_at IS NULL)
          AND CASE WHEN r.status IN ('completed', 'failed', 'cancelled', 'timed_out')
                   THEN r.completed_at < now() - interval '1 minute'
                   ELSE r.status IN ('running', 'streaming', 'recovered')
                        AND r.heartbeat_at < now() - p_stale_after_ms * interval '1 millisecond' END
        FOR NO KEY UPDATE OF t SKIP LOCKED
    LOOP
        v_outcome := CASE WHEN v_pair.status IN ('completed', 'failed', 'cancelled') THEN v_pair.status
                          WHEN v_pair.status = 'timed_out' OR v_pair.recoveries >= p_max_recoveries THEN 'failed'
                          ELSE 'queued' END;
        IF v_outcome = 'queued' THEN
            UPDATE agents.team_runs t
            SET status = 'queued', approval_status = 'approved', updated_at = now(),
                metadata = t.metadata || jsonb_build_object('recoveries', v_pair.recoveries + 1)
            WHERE t.id = v_pair.id;
        ELSE
            PERFORM worker.fn_worker_finalize_team_run(v_pair.id, v_outcome, CASE
                WHEN v_pair.status = 'timed_out' THEN 'the workflow run timed out'
                WHEN v_pair.status = 'failed' THEN 'the workflow run failed'
                WHEN v_outcome = 'failed' THEN 'the worker died each time the run was tried' END);
            PERFORM worker.fail_workflow_run(v_pair.run_id, 'worker.poison', 'the worker died each time the run was tried')
            FROM lenses.workflow_runs r WHERE r.id = v_pair.run_id AND r.status IN ('running', 'streaming', 'recovered');
        END IF;
        RETURN QUERY SELECT v_pair.id, v_outcome;
    END LOOP;
END $$;

-- Have a team run that failed done again, with its workflow run: finished turns and nodes stay, but of work
-- that was sent back too often only the plan does. Null where there is nothing to.
CREATE FUNCTION worker.fn_replay_team_run(p_team_run_id uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_run uuid;
BEGIN
    UPDATE agents.team_runs t
    SET status = 'queued', completed_at = NULL, updated_at = now(),
        metadata = t.metadata - 'error' - 'recoveries',
        approval_status = CASE t.approval_status WHEN 'not_required' THEN 'not_required' ELSE 'approved' END
    WHERE t.id = p_team_run_id AND t.status = 'failed' AND t.approval_status IN ('not_required', 'approved')
    RETURNING t.workflow_run_id INTO v_run;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE lenses.workflow_runs r SET status = 'queued', completed_at = NULL
    WHERE r.id = v_run AND r.status IN ('failed', 'timed_out');
    UPDATE agents.agent_run_steps s SET status = 'skipped', payload = s.payload - 'spoken'
    WHERE s.team_run_id = p_team_run_id AND s.payload ->> 'kind' <> 'plan'
      AND NOT EXISTS (SELECT FROM lenses.workflow_node_results n
                      WHERE n.run_id = v_run AND n.node_id = s.workflow_node_id AND n.status = 'completed')
      AND EXISTS (SELECT FROM agents.agent_run_steps o
                  WHERE o.team_run_id = p_team_run_id AND o.workflow_node_id IS NOT DISTINCT FROM s.workflow_node_id
                    AND o.payload ->> 'kind' = 'review' AND o.payload ? 'spoken');
    RETURN true;
END $$;

INSERT INTO worker.kinds (kind, actor, queue, claim_next, is_waiting, reload, id_key, count_claimable, replay) VALUES (
    'team_run', 'execute_team_run', 'team_runs',
    'SELECT worker.fn_claim_team_run_ticket($1)',
    'SELECT EXISTS (SELECT FROM worker.wanted_team_runs w
                    WHERE w.id = $1 AND worker.fn_team_run_hindrance(w.ai_lenser_id) IS NULL)
            AND NOT fn_kill_switch_active(''system'')',
    'SELECT worker.fn_running_team_run($1)',
    'team_run_id',
    'SELECT count(*) FROM worker.waiting_team_runs w
     WHERE NOT fn_kill_switch_active(''system'') AND worker.fn_team_run_hindrance(w.ai_lenser_id) IS NULL',
    'SELECT worker.fn_replay_team_run($1)');

CREATE FUNCTION worker.fn_ticket_inserted_team_runs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.write_tickets('team_run', ARRAY(
        SELECT i.id FROM inserted i
        WHERE i.status = 'queued' AND i.approval_status IN ('not_required', 'approved') ORDER BY i.created_at));
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no ticket for team runs: %', SQLERRM;
    RETURN NULL;
END $$;

-- A team run that may begin gets a ticket, and so does one that waited for another of its agent to end.
CREATE FUNCTION worker.fn_ticket_changed_team_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NEW.status = 'queued' THEN
        PERFORM worker.write_tickets('team_run', ARRAY[NEW.id]);
    ELSE
        PERFORM worker.write_tickets('team_run', ARRAY(
            SELECT w.id FROM worker.waiting_team_runs w
            WHERE w.ai_lenser_id = NEW.ai_lenser_id ORDER BY w.created_at LIMIT 1));
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no ticket for team run %: %', NEW.id, SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_ticket_inserted_team_runs AFTER INSERT ON agents.team_runs
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION worker.fn_ticket_inserted_team_runs();

CREATE TRIGGER lf_worker_ticket_changed_team_run AFTER UPDATE OF status, approval_status ON agents.team_runs
    FOR EACH ROW WHEN (
        (NEW.status = 'queued' AND NEW.approval_status IN ('not_required', 'approved')
         AND (OLD.status <> 'queued' OR OLD.approval_status NOT IN ('not_required', 'approved')))
        OR (OLD.status = 'running' AND NEW.status IN ('completed', 'failed', 'cancelled', 'blocked')))
    EXECUTE FUNCTION worker.fn_ticket_changed_team_run();

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
