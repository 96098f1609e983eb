-- What an executor writes while it is at a run: heartbeats, results of nodes, events, and the end.

-- Whether an attempt may still write to a run, which it locks:
-- ours | stale (a newer attempt has it) | cancelled | ended (otherwise, or to be run again) | taken (by a
-- worker that is none of ours) | gone (deleted). A run that a team is at is cancelled, or ends, with its team run.
CREATE FUNCTION worker.fn_run_verdict(p_message_id uuid, p_attempt integer, p_run_id uuid) RETURNS text
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_run lenses.workflow_runs;
    v_team_status text;
BEGIN
    SELECT * INTO v_run FROM lenses.workflow_runs r WHERE r.id = p_run_id FOR NO KEY UPDATE;
    IF v_run.id IS NULL THEN
        RETURN 'gone';
    END IF;
    SELECT t.status INTO v_team_status
    FROM worker.claims c LEFT JOIN agents.team_runs t ON c.kind = 'team_run' AND t.id = c.job
    WHERE c.message_id = p_message_id AND c.attempt = p_attempt AND c.state <> 'finished';
    IF NOT FOUND THEN
        RETURN 'stale';
    ELSIF 'cancelled' IN (v_run.status, v_team_status) THEN
        RETURN 'cancelled';
    ELSIF v_run.status NOT IN ('running', 'streaming', 'recovered') OR v_team_status <> 'running' THEN
        RETURN 'ended';
    ELSIF coalesce(v_run.run_worker_id, '') NOT LIKE 'lf-worker/%' THEN
        RETURN 'taken';
    END IF;
    RETURN 'ours';
END $$;

-- Say that a run is being worked on, and learn whether it still should be: the verdicts above, or killed (a
-- kill switch is on for the run, its agent or everything).
CREATE FUNCTION worker.heartbeat_workflow_run(p_message_id uuid, p_attempt integer, p_run_id uuid) RETURNS text
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_verdict text := worker.fn_run_verdict(p_message_id, p_attempt, p_run_id);
    v_agent uuid;
BEGIN
    IF v_verdict <> 'ours' THEN
        RETURN v_verdict;
    END IF;
    UPDATE lenses.workflow_runs r
    SET heartbeat_at = now(), run_worker_id = 'lf-worker/' || c.worker_id,
        active_node_id = coalesce((
            SELECT n.node_id FROM lenses.workflow_node_results n
            WHERE n.run_id = r.id AND n.status IN ('running', 'streaming', 'retrying')
            ORDER BY n.started_at DESC LIMIT 1), r.active_node_id)
    FROM worker.claims c WHERE r.id = p_run_id AND c.message_id = p_message_id
    RETURNING r.ai_lenser_id INTO v_agent;
    PERFORM worker.publish_run_events(p_run_id);
    IF fn_kill_switch_active('run', p_run_id) OR fn_kill_switch_active('agent', v_agent) THEN
        RETURN 'killed';
    END IF;
    RETURN 'ours';
END $$;

-- Whether the log has all of these events since the run's claim began: a commit whose reply was lost had worked.
CREATE FUNCTION worker.fn_are_told(p_message_id uuid, p_run_id uuid, p_events jsonb[]) RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT NOT EXISTS (
        SELECT FROM unnest(p_events) AS e (event)
        WHERE NOT EXISTS (
            SELECT FROM lenses.workflow_run_events o
            WHERE o.run_id = p_run_id AND o.type = e.event ->> 'type'
              AND o.payload = worker.fn_light_payload(coalesce(e.event -> 'payload', '{}'), p_run_id)
              AND o.created_at >= c.first_claimed_at))
    FROM worker.claims c WHERE c.message_id = p_message_id
$$;

-- Write results of nodes and the events that tell of them, if the attempt still may, and give the verdict.
-- A node that has ended stays as it is; of several results of one node the last counts. Results are objects
-- with the columns' names and status at least, and `parked` for a node that waits without a worker; a node that
-- was deleted meanwhile has no place for one. Calls to providers are written down whatever the verdict: they
-- were paid for. With p_forgets_kept they are what the claim's job had kept. With p_again the same may have been
-- written before, so that events which the log has are not told twice.
CREATE FUNCTION worker.save_run_progress(
    p_message_id uuid, p_attempt integer, p_run_id uuid, p_results jsonb, p_events jsonb[] DEFAULT '{}',
    p_publish boolean DEFAULT true, p_calls jsonb DEFAULT NULL, p_forgets_kept boolean DEFAULT false,
    p_again boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_verdict text := worker.fn_run_verdict(p_message_id, p_attempt, p_run_id);
BEGIN
    IF p_calls IS NOT NULL THEN
        PERFORM worker.note_calls(p_message_id, p_calls);
    END IF;
    IF v_verdict <> 'ours' THEN
        RETURN v_verdict;
    END IF;
    PERFORM worker.fn_write_node_results(p_run_id, p_results);
    IF p_results @? '$[*].parked' THEN
        PERFORM worker.fn_park_nodes(p_run_id, p_results);
    END IF;
    IF cardinality(p_events) > 0 AND NOT (p_again AND worker.fn_are_told(p_message_id, p_run_id, p_events)) THEN
        PERFORM worker.append_run_events(p_run_id, p_events, p_publish);
    END IF;
    IF p_forgets_kept THEN
        PERFORM worker.forget_answer(p_message_id);
    END IF;
    RETURN 'ours';
END $$;

CREATE FUNCTION worker.fn_node_has_ended(p_status text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_status IN ('completed', 'failed', 'cancelled', 'skipped', 'timed_out', 'blocked', 'invalidated')
$$;

CREATE FUNCTION worker.fn_write_node_results(p_run_id uuid, p_results jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO lenses.workflow_node_results AS n (
        run_id, node_id, status, output_data, error_message, resolved_input_snapshot, provider_route,
        waiting_reason, retry_count, input_tokens, output_tokens, cost_credits, ttfb_ms, duration_ms,
        started_at, completed_at)
    SELECT DISTINCT ON (x.node_id)
        p_run_id, x.node_id, x.status, x.output_data, x.error_message, x.resolved_input_snapshot,
        x.provider_route, x.waiting_reason, coalesce(x.retry_count, 0), coalesce(x.input_tokens, 0),
        coalesce(x.output_tokens, 0), coalesce(x.cost_credits, 0), x.ttfb_ms, x.duration_ms,
        CASE WHEN x.status IN ('running', 'streaming', 'retrying') THEN clock_timestamp()
             ELSE clock_timestamp() - x.duration_ms * interval '1 millisecond' END,
        CASE WHEN worker.fn_node_has_ended(x.status) THEN clock_timestamp() END
    FROM ROWS FROM (jsonb_to_recordset(p_results) AS (
        node_id uuid, status text, output_data jsonb, error_message text, resolved_input_snapshot jsonb,
        provider_route jsonb, waiting_reason text, retry_count integer, input_tokens integer,
        output_tokens integer, cost_credits integer, ttfb_ms integer, duration_ms integer)
    ) WITH ORDINALITY AS x (
        node_id, status, output_data, error_message, resolved_input_snapshot, provider_route, waiting_reason,
        retry_count, input_tokens, output_tokens, cost_credits, ttfb_ms, duration_ms, number)
    -- Looked up one by one: a batch is small, the table isn't.
    CROSS JOIN LATERAL (SELECT FROM lenses.workflow_nodes e WHERE e.id = x.node_id OFFSET 0) AS e
    ORDER BY x.node_id, x.number DESC
    ON CONFLICT (run_id, node_id) DO UPDATE
    SET status = excluded.status,
        output_data = coalesce(excluded.output_data, n.output_data),
        error_message = CASE WHEN excluded.status <> 'completed'
                             THEN coalesce(excluded.error_message, n.error_message) END,
        resolved_input_snapshot = coalesce(excluded.resolved_input_snapshot, n.resolved_input_snapshot),
        provider_route = coalesce(excluded.provider_route, n.provider_route),
        waiting_reason = excluded.waiting_reason,
        retry_count = greatest(excluded.retry_count, n.retry_count),
        input_tokens = greatest(excluded.input_tokens, n.input_tokens),
        output_tokens = greatest(excluded.output_tokens, n.output_tokens),
        cost_credits = greatest(excluded.cost_credits, n.cost_credits),
        ttfb_ms = coalesce(excluded.ttfb_ms, n.ttfb_ms),
        duration_ms = coalesce(excluded.duration_ms, n.duration_ms),
        started_at = coalesce(n.started_at, excluded.started_at),
        completed_at = excluded.completed_at
    WHERE NOT worker.fn_node_has_ended(n.status);
END $$;

-- End the nodes of a run that have not ended, each in its way, so that nobody waits for them any more.
CREATE FUNCTION worker.fn_close_open_nodes(p_run_id uuid, p_run_status text) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE lenses.workflow_node_results n
    SET status = CASE
            WHEN p_run_status = 'cancelled' THEN 'cancelled'
            WHEN p_run_status = 'timed_out' AND n.started_at IS NOT NULL THEN 'timed_out'
            WHEN p_run_status = 'failed' AND n.started_at IS NOT NULL THEN 'failed'
            ELSE 'skipped' END,
        error_message = coalesce(n.error_message, CASE WHEN n.started_at IS NOT NULL THEN 'run_' || p_run_status END),
        waiting_reason = NULL, completed_at = clock_timestamp()
    WHERE n.run_id = p_run_id AND NOT worker.fn_node_has_ended(n.status)
$$;

-- End a run that is running, in the transaction that ended its claim: its open nodes, its row, its schedule
-- and its events. A run that has ended already stays as it is, and the answer is false.
CREATE FUNCTION worker.finish_workflow_run(
    p_run_id uuid, p_status text, p_result jsonb DEFAULT NULL, p_events jsonb[] DEFAULT '{}',
    p_publish boolean DEFAULT true
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_schedule uuid;
BEGIN
    IF p_status NOT IN ('completed', 'failed', 'cancelled', 'timed_out') THEN
        RAISE EXCEPTION 'a run doesn''t end as %', p_status USING ERRCODE = '22023';
    END IF;
    PERFORM FROM lenses.workflow_runs r
    WHERE r.id = p_run_id AND r.status IN ('running', 'streaming', 'recovered') FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM worker.fn_close_open_nodes(p_run_id, p_status);
    IF cardinality(p_events) > 0 THEN
        PERFORM worker.append_run_events(p_run_id, p_events, p_publish);
    END IF;
    UPDATE lenses.workflow_runs r
    SET status = p_status, completed_at = greatest(now(), r.started_at), run_worker_id = NULL,
        active_node_id = NULL, started_at = coalesce(r.started_at, now()),
        metadata = r.metadata || CASE WHEN p_result IS NULL THEN '{}'
                                      ELSE jsonb_build_object('result', p_result) END
    WHERE r.id = p_run_id
    RETURNING r.schedule_id INTO v_schedule;
    UPDATE lenses.workflow_schedules s
    SET last_completed_at = now(), last_result = jsonb_strip_nulls(jsonb_build_object(
        'run_id', p_run_id, 'status', p_status, 'result', p_result))
    WHERE s.id = v_schedule;
    DELETE FROM worker.run_graphs g WHERE g.run_id = p_run_id;
    RETURN true;
END $$;

-- Fail a run for a reason, and keep it among the dead letters.
CREATE FUNCTION worker.fail_workflow_run(p_run_id uuid, p_code text, p_message text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF NOT worker.finish_workflow_run(
        p_run_id, 'failed', jsonb_build_object('error', jsonb_build_object('code', p_code, 'message', p_message)),
        ARRAY[jsonb_build_object('type', 'run.failed', 'payload', jsonb_build_object(
                  'status', 'failed', 'lifecycle', 'failed', 'code', p_code, 'error', p_message)),
              jsonb_build_object('type', 'run.status.changed', 'payload', jsonb_build_object(
                  'status', 'failed', 'lifecycle', 'failed'))]) THEN
        RETURN false;
    END IF;
    PERFORM lenses.fn_move_workflow_run_to_dlq(p_run_id, NULL, p_code, p_message, '{}');
    RETURN true;
END $$;

-- Tidy up after a run that was ended by somebody else while an attempt was at it: nobody may wait for its
-- nodes, and its followers are told. The claim ends as gone. False when the attempt is stale itself.
CREATE FUNCTION worker.close_ended_run(p_message_id uuid, p_attempt integer, p_run_id uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_verdict text := worker.fn_run_verdict(p_message_id, p_attempt, p_run_id);
    v_status text;
BEGIN
    IF v_verdict = 'stale' OR v_verdict = 'ours' THEN
        RETURN false;
    END IF;
    -- A team run that was ended for itself ends its workflow run.
    PERFORM worker.finish_workflow_run(p_run_id, t.status)
    FROM worker.claims c JOIN agents.team_runs t ON t.id = c.job
    WHERE c.message_id = p_message_id AND c.kind = 'team_run' AND t.workflow_run_id = p_run_id
      AND t.status IN ('completed', 'failed', 'cancelled');
    PERFORM worker.fn_close_open_steps(t.id, t.status)
    FROM worker.claims c JOIN agents.team_runs t ON t.id = c.job
    WHERE c.message_id = p_message_id AND c.kind = 'team_run' AND t.status IN ('completed', 'failed', 'cancelled');
    SELECT r.status INTO v_status FROM lenses.workflow_runs r WHERE r.id = p_run_id;
    IF v_status IN ('completed', 'failed', 'cancelled', 'timed_out') THEN
        PERFORM worker.fn_close_run(p_run_id, v_status);
    END IF;
    RETURN worker.finish_claim(p_message_id, p_attempt, 'gone') = 'ours';
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
