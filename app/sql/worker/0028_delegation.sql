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

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
