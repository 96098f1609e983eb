-- Nodes of workflows that have an agent do something: a team run of its own, started once and waited for.

CREATE INDEX node_effects_team_run ON worker.node_effects ((receipt ->> 'teamRunId')) WHERE effect = 'team_run';

-- Start the team run that a node delegates to, unless it has: all in one transaction. Gives its id, or the
-- problem: not_owned (the agent isn't the workflow owner's) | too_deep (runs below each other). A node of a team
-- run's workflow delegates below that team run.
CREATE FUNCTION worker.fn_delegate_from_node(
    p_run_id uuid, p_node_id uuid, p_owner uuid, p_agent uuid, p_workflow_id uuid, p_inputs jsonb, p_policy text,
    OUT team_run uuid, OUT problem text
)
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_begun record;
    v_parent uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM agents.ownerships o WHERE o.ai_lenser_id = p_agent AND o.owner_lenser_id = p_owner
                   AND o.role = 'owner' AND o.revoked_at IS NULL) THEN
        problem := 'not_owned';
        RETURN;
    END IF;
    SELECT * INTO v_begun FROM worker.begin_node_effect(p_run_id, p_node_id, 'team_run');
    IF v_begun.standing = 'sent' THEN
        team_run := (v_begun.receipt ->> 'teamRunId')::uuid;
        RETURN;
    END IF;
    SELECT t.id INTO v_parent FROM agents.team_runs t WHERE t.workflow_run_id = p_run_id LIMIT 1;
    team_run := fn_start_team_run(p_agent, p_workflow_id, p_inputs || CASE WHEN v_parent IS NULL THEN '{}'
        ELSE jsonb_build_object('_parent_team_run_id', v_parent) END, p_policy);
    UPDATE worker.node_effects e SET sent_at = now(), receipt = jsonb_build_object('teamRunId', team_run)
    WHERE e.run_id = p_run_id AND e.node_id = p_node_id AND e.effect = 'team_run';
EXCEPTION WHEN program_limit_exceeded THEN
    team_run := NULL;
    problem := 'too_deep';
END $$;

-- A team run has ended: the node that waits for it goes on.
CREATE FUNCTION worker.fn_wake_delegating_node() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.wake_workflow_run(e.run_id, e.node_id) FROM worker.node_effects e
    WHERE e.effect = 'team_run' AND e.receipt ->> 'teamRunId' = NEW.id::text;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: nobody was told of the end of team run %: %', NEW.id, SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_wake_delegating_node AFTER UPDATE OF status ON agents.team_runs
    FOR EACH ROW WHEN (
        OLD.status IS DISTINCT FROM NEW.status AND NEW.status IN ('completed', 'failed', 'cancelled'))
    EXECUTE FUNCTION worker.fn_wake_delegating_node();

-- The team run may be over before its node is down: it has its next turn at once then.
CREATE FUNCTION worker.fn_notice_ended_team_run() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF EXISTS (SELECT FROM agents.team_runs t WHERE t.id::text = NEW.memo ->> 'teamRun'
               AND t.status IN ('completed', 'failed', 'cancelled')) THEN
        NEW.due_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER notice_ended_team_run BEFORE INSERT OR UPDATE OF parked_at ON worker.parked_nodes
    FOR EACH ROW WHEN (NEW.reason = 'external_callback' AND NEW.memo ? 'teamRun')
    EXECUTE FUNCTION worker.fn_notice_ended_team_run();

-- Cancel what a run's nodes have delegated, once the run has ended. A team run that is just writing is waited for
-- only shortly: it may be ending, and wait for this run's row; the sweep looks again.
CREATE FUNCTION worker.fn_cancel_delegated_runs(p_run_id uuid) RETURNS void
LANGUAGE plpgsql SET search_path = '' SET lock_timeout = '500ms' AS $$
DECLARE
    v_team_run agents.team_runs;
BEGIN
    FOR v_team_run IN
        SELECT t.* FROM worker.node_effects e JOIN agents.team_runs t ON t.id = (e.receipt ->> 'teamRunId')::uuid
        WHERE e.run_id = p_run_id AND e.effect = 'team_run' AND t.status IN ('queued', 'running', 'blocked')
    LOOP
        BEGIN
            PERFORM worker.fn_worker_finalize_team_run(
                v_team_run.id, 'cancelled', 'the workflow run that waited for it has ended');
            UPDATE lenses.workflow_runs r
            SET status = 'cancelled', completed_at = greatest(now(), r.started_at)
            WHERE r.id = v_team_run.workflow_run_id
              AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out');
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
END $$;

-- What was missed when a run ended.
CREATE FUNCTION worker.cancel_orphaned_team_runs() RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    SELECT worker.fn_cancel_delegated_runs(e.run_id)
    FROM agents.team_runs t
    JOIN worker.node_effects e ON e.effect = 'team_run' AND e.receipt ->> 'teamRunId' = t.id::text
    LEFT JOIN lenses.workflow_runs r ON r.id = e.run_id
    WHERE t.status IN ('queued', 'running', 'blocked')
      AND (r.id IS NULL OR r.status IN ('completed', 'failed', 'cancelled', 'timed_out'))
$$;

-- A run that is asked for again delegates anew what came to nothing.
CREATE FUNCTION worker.fn_reopen_delegations(p_run_id uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    DELETE FROM worker.node_effects e
    WHERE e.run_id = p_run_id AND e.effect = 'team_run'
      AND NOT EXISTS (SELECT FROM agents.team_runs t WHERE t.id = (e.receipt ->> 'teamRunId')::uuid
                      AND t.status NOT IN ('failed', 'cancelled'))
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
