-- Workflow runs: which of them wait for a worker, how one is claimed, and their tickets.

-- Runs that are to be executed: those of schedules and of the API, those asked for again or approved, and those
-- taken from a worker that died. The run of a team run is its team's to execute, once that is approved.
CREATE VIEW worker.wanted_workflow_runs AS
    SELECT r.id, r.workflow_id, r.status, r.created_at
    FROM lenses.workflow_runs r
    WHERE (r.status = 'queued'
           OR (r.status = 'pending' AND r.trigger_mode IN ('schedule', 'api'))
           OR (r.status = 'recovered' AND r.run_worker_id IS NULL))
      AND NOT EXISTS (SELECT FROM agents.team_runs t
                      WHERE t.workflow_run_id = r.id AND t.status IN ('queued', 'running', 'blocked'));

-- One that was asked for again is not taken before the attempt that still is at it has ended.
CREATE VIEW worker.waiting_workflow_runs AS
    SELECT r.* FROM worker.wanted_workflow_runs r
    WHERE NOT EXISTS (SELECT FROM worker.claims c
                      WHERE c.kind = 'workflow_run' AND c.job = r.id AND c.finished_at IS NULL);
COMMENT ON VIEW worker.waiting_workflow_runs IS 'Workflow runs that a worker may take now.';

-- The graph that a run executes, as it was when the run began: later edits are for later runs.
CREATE TABLE worker.run_graphs (
    run_id uuid PRIMARY KEY,
    graph jsonb NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    -- how long attempts were at work that put the run down, to wait
    worked_ms bigint NOT NULL DEFAULT 0
);

CREATE INDEX run_graphs_taken ON worker.run_graphs (taken_at);

-- A workflow's graph with all that decides how it runs: conditions, merge strategies and labels too.
CREATE FUNCTION worker.fn_workflow_graph(p_workflow_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'nodes', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', n.id, 'lens_id', n.lens_id, 'version_id', n.version_id, 'label', n.label,
                'ordinal', n.ordinal, 'config', n.config) ORDER BY n.ordinal, n.id)
            FROM lenses.workflow_nodes n WHERE n.workflow_id = p_workflow_id), '[]'),
        'edges', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', e.id, 'source_node_id', e.source_node_id, 'target_node_id', e.target_node_id,
                'source_output_key', e.source_output_key, 'target_param_label', e.target_param_label,
                'merge_strategy', e.merge_strategy, 'condition', e.condition)
                ORDER BY s.ordinal, e.source_node_id, e.target_param_label, e.id)
            FROM lenses.workflow_edges e LEFT JOIN lenses.workflow_nodes s ON s.id = e.source_node_id
            WHERE e.workflow_id = p_workflow_id), '[]'))
$$;

-- The shadow adds what the platform's own leaves out.
CREATE FUNCTION worker.fn_worker_get_workflow_graph(p_workflow_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT worker.fn_workflow_graph(p_workflow_id)
$$;

-- Get a run ready to be executed by us: pin its graph, and give each node a row, since followers take a run
-- for done when all rows they know are. Asked for again, all but the completed nodes begin anew.
CREATE FUNCTION worker.fn_begin_workflow_run(p_run_id uuid) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_run lenses.workflow_runs;
BEGIN
    SELECT * INTO STRICT v_run FROM lenses.workflow_runs r WHERE r.id = p_run_id FOR NO KEY UPDATE;
    IF v_run.status = 'queued' THEN
        DELETE FROM worker.run_graphs g WHERE g.run_id = p_run_id;
        DELETE FROM worker.parked_nodes p WHERE p.run_id = p_run_id;
        UPDATE worker.node_media m SET state = 'abandoned' WHERE m.run_id = p_run_id AND m.state = 'failed';
        PERFORM worker.fn_reopen_children(p_run_id);
        PERFORM worker.fn_reopen_delegations(p_run_id);
        UPDATE lenses.workflow_node_results n
        SET status = 'pending', error_message = NULL, started_at = NULL, completed_at = NULL,
            duration_ms = NULL, waiting_reason = NULL, retry_count = 0
        WHERE n.run_id = p_run_id AND n.status NOT IN ('completed', 'pending');
    END IF;
    INSERT INTO worker.run_graphs (run_id, graph)
    VALUES (p_run_id, worker.fn_workflow_graph(v_run.workflow_id)) ON CONFLICT DO NOTHING;
    INSERT INTO lenses.workflow_node_results (run_id, node_id)
    SELECT p_run_id, n.id FROM lenses.workflow_nodes n WHERE n.workflow_id = v_run.workflow_id
    ON CONFLICT DO NOTHING;
    UPDATE lenses.workflow_runs r
    SET status = 'running', started_at = coalesce(r.started_at, now()), completed_at = NULL,
        heartbeat_at = now(), run_worker_id = 'lf-worker/',
        metadata = CASE v_run.status WHEN 'queued' THEN r.metadata - 'recoveries' ELSE r.metadata END
    WHERE r.id = p_run_id;
END $$;

-- What a run has spent, with all runs that its nodes have started, and theirs.
CREATE FUNCTION worker.fn_spent_with_children(p_run_id uuid) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN (
        WITH RECURSIVE family AS (
            SELECT p_run_id AS id
            UNION
            SELECT c.child_run_id FROM family f JOIN worker.child_runs c ON c.run_id = f.id
            WHERE c.child_run_id IS NOT NULL
        )
        SELECT coalesce(sum(r.spent_credits), 0) FROM family f JOIN lenses.workflow_runs r ON r.id = f.id);
END $$;

-- A run as the executor needs it, locked, while it is running and ours; else null. Ours are marked by their
-- worker's id: other workers know nothing of claims.
CREATE FUNCTION worker.fn_running_workflow_run(p_run_id uuid) RETURNS jsonb
LANGUAGE sql SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'run_id', r.id, 'workflow_id', r.workflow_id, 'schedule_id', r.schedule_id,
        'triggered_by', r.triggered_by, 'owner_lenser_id', w.lenser_id,
        'workspace_id', (SELECT s.id FROM tenancy.workspaces s
                         WHERE s.owner_lenser_id = w.lenser_id AND s.type = 'personal' AND s.status = 'active'
                         ORDER BY s.created_at LIMIT 1),
        'context_inputs', r.context_inputs, 'global_model_id', r.global_model_id,
        'ai_lenser_id', r.ai_lenser_id, 'trigger_mode', r.trigger_mode, 'parent_run_id', r.parent_run_id,
        'recursion_depth', r.recursion_depth, 'budget_credits', r.budget_credits,
        'spent_credits', worker.fn_spent_with_children(r.id), 'started_at', r.started_at)
    FROM lenses.workflow_runs r JOIN lenses.workflows w ON w.id = r.workflow_id
    WHERE r.id = p_run_id AND r.status IN ('running', 'streaming', 'recovered')
      AND r.run_worker_id LIKE 'lf-worker/%'
    FOR NO KEY UPDATE OF r
$$;

-- Claim the run that a ticket was written for; without one, that which has waited longest.
CREATE FUNCTION worker.fn_claim_workflow_run(p_hint uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_run uuid;
BEGIN
    IF fn_kill_switch_active('system') THEN
        RETURN NULL;
    END IF;
    IF p_hint IS NULL THEN
        SELECT w.id INTO v_run FROM worker.waiting_workflow_runs w
        ORDER BY w.created_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    ELSE
        SELECT w.id INTO v_run FROM worker.waiting_workflow_runs w WHERE w.id = p_hint FOR NO KEY UPDATE SKIP LOCKED;
    END IF;
    IF v_run IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM worker.fn_begin_workflow_run(v_run);
    RETURN worker.fn_running_workflow_run(v_run);
END $$;

INSERT INTO worker.kinds (kind, actor, queue, claim_next, is_waiting, reload, id_key, count_claimable, replay) VALUES (
    'workflow_run', 'execute_workflow_run', 'workflow_runs',
    'SELECT worker.fn_claim_workflow_run($1)',
    'SELECT EXISTS (SELECT FROM worker.wanted_workflow_runs w WHERE w.id = $1)
            AND NOT fn_kill_switch_active(''system'')',
    'SELECT worker.fn_running_workflow_run($1)',
    'run_id',
    'SELECT count(*) FROM worker.waiting_workflow_runs WHERE NOT fn_kill_switch_active(''system'')',
    -- As the Retry button does; what is completed is kept. The run of a team run is replayed with its team run.
    'UPDATE lenses.workflow_runs r SET status = ''queued'', completed_at = NULL, run_worker_id = NULL
     WHERE r.id = $1 AND r.status IN (''failed'', ''timed_out'')
       AND NOT EXISTS (SELECT FROM agents.team_runs t WHERE t.workflow_run_id = r.id)
     RETURNING true');

CREATE FUNCTION worker.fn_ticket_inserted_workflow_runs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.write_tickets('workflow_run', array_agg(i.id ORDER BY i.created_at),
                                 array_agg(w.lenser_id::text ORDER BY i.created_at))
    FROM inserted i LEFT JOIN lenses.workflows w ON w.id = i.workflow_id
    WHERE i.status = 'queued' OR (i.status = 'pending' AND i.trigger_mode IN ('schedule', 'api'));
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no ticket for workflow runs: %', SQLERRM;
    RETURN NULL;
END $$;

-- A run that is asked for again while it is put down, to wait, begins anew and not when it would have been due.
CREATE FUNCTION worker.fn_ticket_waiting_workflow_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.fn_end_idle_claim(NEW.id);
    PERFORM worker.write_tickets('workflow_run', ARRAY[NEW.id]);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no ticket for workflow run %: %', NEW.id, SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_ticket_inserted_workflow_runs AFTER INSERT ON lenses.workflow_runs
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION worker.fn_ticket_inserted_workflow_runs();

CREATE TRIGGER lf_worker_ticket_waiting_workflow_run AFTER UPDATE OF status ON lenses.workflow_runs
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status AND (
        NEW.status = 'queued' OR (NEW.status = 'pending' AND NEW.trigger_mode IN ('schedule', 'api'))))
    EXECUTE FUNCTION worker.fn_ticket_waiting_workflow_run();

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
