-- Recovery: runs whose worker is gone for good are given to another, a few times, and then fail with a reason.

-- Runs whose heartbeat stopped, of workers that have no claims; runs with an open claim come again with their
-- message, and those of team runs with their team. A person's run in a browser never has a heartbeat and is never taken.
CREATE FUNCTION worker.fn_claim_stale_workflow_run(
    p_worker_id text, p_stale_after_ms integer DEFAULT 60000, p_max_claims integer DEFAULT 1
) RETURNS TABLE (
    run_id uuid, workflow_id uuid, parent_run_id uuid, recursion_depth integer, previous_status text
)
LANGUAGE plpgsql SET search_path = '' AS $$
#variable_conflict use_column
BEGIN
    IF coalesce(btrim(p_worker_id), '') = '' THEN
        RAISE EXCEPTION 'worker id is required' USING ERRCODE = '22023';
    END IF;
    RETURN QUERY
    WITH stale AS (
        SELECT r.id, r.status FROM lenses.workflow_runs r
        WHERE r.status IN ('running', 'streaming', 'recovered')
          AND coalesce(r.heartbeat_at, CASE WHEN r.trigger_mode <> 'manual' THEN coalesce(r.started_at, r.created_at) END)
              < now() - p_stale_after_ms * interval '1 millisecond'
          AND NOT (r.status = 'recovered' AND r.run_worker_id IS NULL)
          AND NOT EXISTS (
              SELECT FROM worker.claims c
              WHERE c.kind = 'workflow_run' AND c.job = r.id AND c.finished_at IS NULL)
          AND NOT EXISTS (
              SELECT FROM agents.team_runs t
              WHERE t.workflow_run_id = r.id AND t.status IN ('queued', 'running', 'blocked'))
        ORDER BY coalesce(r.heartbeat_at, r.started_at, r.created_at)
        LIMIT greatest(p_max_claims, 1) FOR NO KEY UPDATE OF r SKIP LOCKED
    )
    UPDATE lenses.workflow_runs r
    SET status = 'recovered', run_worker_id = p_worker_id, heartbeat_at = now()
    FROM stale WHERE r.id = stale.id
    RETURNING r.id, r.workflow_id, r.parent_run_id, r.recursion_depth, stale.status;
END $$;

-- Put stale runs back among those that wait, or fail those that were put back p_max_recoveries times: they
-- kill their workers. Nodes that completed are kept. Gives each run and what became of it.
CREATE FUNCTION worker.recover_workflow_runs(
    p_worker_id text, p_stale_after_ms integer, p_max_recoveries integer, p_limit integer DEFAULT 20
) RETURNS TABLE (run_id uuid, outcome text)
LANGUAGE plpgsql SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    v_run uuid;
    v_recoveries integer;
BEGIN
    FOR v_run IN
        SELECT s.run_id FROM worker.fn_claim_stale_workflow_run(p_worker_id, p_stale_after_ms, p_limit) s
    LOOP
        UPDATE lenses.workflow_runs r
        SET metadata = r.metadata || jsonb_build_object(
            'recoveries', coalesce((r.metadata ->> 'recoveries')::integer, 0) + 1)
        WHERE r.id = v_run
        RETURNING (r.metadata ->> 'recoveries')::integer INTO v_recoveries;
        IF v_recoveries > p_max_recoveries THEN
            PERFORM worker.fail_workflow_run(v_run, 'worker.poison', format(
                'the run was recovered %s times and its worker died each time', p_max_recoveries));
            RETURN QUERY SELECT v_run, 'poison';
            CONTINUE;
        END IF;
        PERFORM worker.append_run_events(v_run, ARRAY[jsonb_build_object(
            'type', 'run.recovered', 'payload', jsonb_build_object('status', 'recovered', 'attempt', v_recoveries))]);
        UPDATE lenses.workflow_runs r SET run_worker_id = NULL WHERE r.id = v_run;
        PERFORM worker.write_tickets('workflow_run', ARRAY[v_run]);
        RETURN QUERY SELECT v_run, 'recovered';
    END LOOP;
END $$;

-- Runs that are put down, to wait for a time or an answer, have no heartbeat of their own; this one keeps
-- other sweepers away from them.
CREATE FUNCTION worker.touch_waiting_workflow_runs() RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_count integer;
BEGIN
    UPDATE lenses.workflow_runs r SET heartbeat_at = now()
    FROM worker.claims c LEFT JOIN agents.team_runs t ON c.kind = 'team_run' AND t.id = c.job
    WHERE c.finished_at IS NULL AND c.state <> 'running' AND c.kind IN ('workflow_run', 'team_run')
      AND r.id = coalesce(t.workflow_run_id, c.job)
      AND r.status IN ('running', 'streaming', 'recovered') AND r.run_worker_id LIKE 'lf-worker/%'
      AND r.heartbeat_at < now() - interval '30 seconds';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Runs of schedules that waited too long for their owner's word no longer do, so that their schedule goes on.
CREATE FUNCTION worker.expire_pending_approvals(p_older_than interval DEFAULT '24 hours') RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_count integer;
BEGIN
    -- Our trigger ends their nodes.
    UPDATE lenses.workflow_runs r
    SET status = 'timed_out', completed_at = now()
    WHERE r.status = 'pending_approval' AND r.created_at < now() - p_older_than
      AND NOT EXISTS (SELECT FROM agents.team_runs t WHERE t.workflow_run_id = r.id AND t.status = 'blocked');
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Forget how followers of runs were told, and graphs, effects and waits of runs that have ended, after a while.
CREATE FUNCTION worker.prune_workflow_runs(p_older_than interval, p_batch integer DEFAULT 1000) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_channels integer;
    v_graphs integer;
    v_effects integer;
    v_parked integer;
BEGIN
    DELETE FROM worker.run_channels c WHERE c.run_id IN (
        SELECT o.run_id FROM worker.run_channels o WHERE o.touched_at < now() - p_older_than
        ORDER BY o.touched_at LIMIT p_batch FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS v_channels = ROW_COUNT;
    DELETE FROM worker.run_graphs g WHERE g.run_id IN (
        SELECT o.run_id FROM worker.run_graphs o LEFT JOIN lenses.workflow_runs r ON r.id = o.run_id
        WHERE o.taken_at < now() - p_older_than
          AND (r.id IS NULL OR r.status IN ('completed', 'failed', 'cancelled', 'timed_out'))
        ORDER BY o.taken_at LIMIT p_batch);
    GET DIAGNOSTICS v_graphs = ROW_COUNT;
    DELETE FROM worker.node_effects d USING (
        SELECT o.run_id, o.node_id, o.effect
        FROM worker.node_effects o LEFT JOIN lenses.workflow_runs r ON r.id = o.run_id
        WHERE o.begun_at < now() - p_older_than
          AND (r.id IS NULL OR r.status IN ('completed', 'failed', 'cancelled', 'timed_out'))
        ORDER BY o.begun_at LIMIT p_batch) AS old
    WHERE (d.run_id, d.node_id, d.effect) = (old.run_id, old.node_id, old.effect);
    GET DIAGNOSTICS v_effects = ROW_COUNT;
    DELETE FROM worker.parked_nodes d USING (
        SELECT o.run_id, o.node_id
        FROM worker.parked_nodes o LEFT JOIN lenses.workflow_runs r ON r.id = o.run_id
        WHERE o.parked_at < now() - p_older_than
          AND (r.id IS NULL OR r.status IN ('completed', 'failed', 'cancelled', 'timed_out'))
        ORDER BY o.parked_at LIMIT p_batch) AS old
    WHERE (d.run_id, d.node_id) = (old.run_id, old.node_id);
    GET DIAGNOSTICS v_parked = ROW_COUNT;
    RETURN v_channels + v_graphs + v_effects + v_parked;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
