-- Nodes that wait without a worker: what for, until when, and what came meanwhile.

-- One row for each node that has ever waited in a run; it stays, so that a second answer is told so.
CREATE TABLE worker.parked_nodes (
    run_id uuid NOT NULL,
    node_id uuid NOT NULL,
    reason text NOT NULL CHECK (reason IN (
        'timer',             -- for a time, and nothing else
        'human_input',       -- for a person's answer
        'external_callback'  -- for an answer of another system, or for other work to be done
    )),
    -- the node has its turn then even without an answer; null waits for one however long it takes
    due_at timestamptz,
    -- what the node left for its next turn
    memo jsonb NOT NULL DEFAULT '{}',
    -- its place in the line of a provider's limit, if that is what it waits for
    ticket uuid,
    -- what people are asked
    ask jsonb,
    parked_at timestamptz NOT NULL DEFAULT now(),
    answer jsonb,
    answered_by uuid,
    answered_at timestamptz,
    -- since then the node has its turn again and no answer is taken any more
    taken_at timestamptz,
    PRIMARY KEY (run_id, node_id)
) WITH (fillfactor = 80);

CREATE INDEX parked_nodes_parked ON worker.parked_nodes (parked_at);
CREATE INDEX parked_nodes_ticket ON worker.parked_nodes (ticket) WHERE ticket IS NOT NULL;

CREATE VIEW worker.waiting_nodes AS
    SELECT p.run_id, p.node_id, w.title AS workflow, n.label AS node, p.reason, p.ask, p.parked_at, p.due_at
    FROM worker.parked_nodes p
    JOIN lenses.workflow_runs r ON r.id = p.run_id
    JOIN lenses.workflows w ON w.id = r.workflow_id
    LEFT JOIN lenses.workflow_nodes n ON n.id = p.node_id
    WHERE p.taken_at IS NULL AND p.answer IS NULL AND r.status IN ('running', 'streaming', 'recovered');
COMMENT ON VIEW worker.waiting_nodes IS 'Nodes of workflow runs that wait for a time, a person or other work.';

-- Park the nodes among p_results that have a key `parked`: {reason, due_at or after_ms, memo, ask, ticket}. A delay
-- is counted on the database's clock. A node that waits anew waits for a new answer; one whose ticket was called
-- meanwhile has its turn when it was called for.
CREATE FUNCTION worker.fn_park_nodes(p_run_id uuid, p_results jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    -- Who is just calling one of them doesn't find it parked yet: so be told of it here.
    PERFORM FROM worker.waiters w
    WHERE w.ticket IN (SELECT (x.parked ->> 'ticket')::uuid FROM jsonb_to_recordset(p_results) AS x (parked jsonb))
    ORDER BY w.provider, w.model, w.key, w.tag FOR SHARE;
    INSERT INTO worker.parked_nodes AS p (run_id, node_id, reason, due_at, memo, ask, ticket)
    SELECT p_run_id, x.node_id, x.parked ->> 'reason',
           least(coalesce((x.parked ->> 'due_at')::timestamptz,
                          clock_timestamp() + (x.parked ->> 'after_ms')::bigint * interval '1 millisecond'),
                 (SELECT w.called_at FROM worker.waiters w
                  WHERE w.ticket = (x.parked ->> 'ticket')::uuid AND w.called_at > '-infinity')),
           coalesce(x.parked -> 'memo', '{}'), x.parked -> 'ask', (x.parked ->> 'ticket')::uuid
    FROM jsonb_to_recordset(p_results) AS x (node_id uuid, parked jsonb)
    WHERE x.parked IS NOT NULL
    ON CONFLICT (run_id, node_id) DO UPDATE
    SET reason = excluded.reason, due_at = excluded.due_at, memo = excluded.memo, ask = excluded.ask,
        ticket = excluded.ticket, parked_at = now(), answer = NULL, answered_by = NULL, answered_at = NULL,
        taken_at = NULL;
END $$;

-- An answer as its node gets it: {data, by, at}; null where none came.
CREATE FUNCTION worker.fn_given_answer(p_node worker.parked_nodes) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT CASE WHEN p_node.answer IS NOT NULL THEN jsonb_build_object(
        'data', p_node.answer, 'by', p_node.answered_by, 'at', p_node.answered_at) END
$$;

-- Give the nodes their turn that are due or answered: {node_id, memo, answer}; and once more those that were
-- given it and have not begun it, since the word of that may have been lost.
CREATE FUNCTION worker.fn_take_up_nodes(p_run_id uuid) RETURNS jsonb
LANGUAGE sql SET search_path = '' AS $$
    WITH taken AS (
        UPDATE worker.parked_nodes p SET taken_at = clock_timestamp()
        WHERE p.run_id = p_run_id AND p.taken_at IS NULL
          AND (p.answer IS NOT NULL OR p.due_at <= clock_timestamp())
        RETURNING p.*
    ), all_taken AS (
        SELECT t.node_id, t.memo, worker.fn_given_answer(t::worker.parked_nodes) AS answer FROM taken t
        UNION ALL
        SELECT p.node_id, p.memo, worker.fn_given_answer(p)
        FROM worker.parked_nodes p JOIN lenses.workflow_node_results n USING (run_id, node_id)
        WHERE p.run_id = p_run_id AND p.taken_at IS NOT NULL AND n.status = 'awaiting_dependency'
    )
    SELECT coalesce(jsonb_agg(to_jsonb(a)), '[]') FROM all_taken a
$$;

-- What an attempt that is at work takes up, with the verdict whether it still may: {verdict, taken}.
CREATE FUNCTION worker.take_up_parked_nodes(p_message_id uuid, p_attempt integer, p_run_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_verdict text := worker.fn_run_verdict(p_message_id, p_attempt, p_run_id);
BEGIN
    RETURN jsonb_build_object('verdict', v_verdict, 'taken', CASE
        WHEN v_verdict = 'ours' THEN worker.fn_take_up_nodes(p_run_id) ELSE '[]' END);
END $$;

-- Put a run down of which only parked nodes are left, if none of them has its turn by now: {verdict, taken}.
-- The claim is released and its message waits for the next due node, all in one transaction: whoever answers
-- later finds the message waiting, and whoever answered before is heard. The delivery that is put down so is
-- acknowledged by nobody. A day is the longest sleep, whatever happens to those who should wake the run.
CREATE FUNCTION worker.put_down_workflow_run(
    p_message_id uuid, p_attempt integer, p_run_id uuid, p_worked_ms bigint
) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_verdict text;
    v_taken jsonb;
    v_queue text;
BEGIN
    -- The claim before the run, as those lock them who open and finish claims.
    PERFORM FROM worker.claims c WHERE c.message_id = p_message_id FOR NO KEY UPDATE;
    v_verdict := worker.fn_run_verdict(p_message_id, p_attempt, p_run_id);
    IF v_verdict <> 'ours' THEN
        RETURN jsonb_build_object('verdict', v_verdict, 'taken', '[]'::jsonb);
    END IF;
    -- So that whoever calls a node either is heard here or finds the message waiting.
    PERFORM FROM dramatiq.queue q WHERE q.message_id = p_message_id FOR UPDATE;
    v_taken := worker.fn_take_up_nodes(p_run_id);
    IF v_taken <> '[]' THEN
        RETURN jsonb_build_object('verdict', v_verdict, 'taken', v_taken);
    END IF;
    UPDATE worker.claims c SET state = 'handed_back' WHERE c.message_id = p_message_id;
    UPDATE worker.run_graphs g SET worked_ms = g.worked_ms + p_worked_ms WHERE g.run_id = p_run_id;
    UPDATE lenses.workflow_runs r SET heartbeat_at = now(), active_node_id = NULL WHERE r.id = p_run_id;
    PERFORM worker.publish_run_events(p_run_id, p_flush => true);
    UPDATE dramatiq.queue q
    SET state = 'queued', owner = NULL, unique_key = NULL, mtime = least(now() + interval '1 day', (
        SELECT min(p.due_at) FROM worker.parked_nodes p WHERE p.run_id = p_run_id AND p.taken_at IS NULL))
    WHERE q.message_id = p_message_id
    RETURNING q.queue_name INTO v_queue;
    IF v_queue IS NOT NULL THEN
        PERFORM pg_notify('dramatiq.' || v_queue || '.enqueue', 'delayed');
        PERFORM worker.fn_wake_capped_queues(ARRAY[v_queue]);
    END IF;
    RETURN jsonb_build_object('verdict', v_verdict, 'taken', v_taken);
END $$;

-- The messages whose open claims are those of a run, or of its team.
CREATE FUNCTION worker.fn_messages_of_run(p_run_id uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT c.message_id FROM worker.claims c WHERE c.job = p_run_id AND c.finished_at IS NULL
    UNION ALL
    SELECT c.message_id
    FROM (SELECT o.message_id, o.job FROM worker.claims o
          WHERE o.kind = 'team_run' AND o.finished_at IS NULL OFFSET 0) AS c
    JOIN agents.team_runs t ON t.id = c.job WHERE t.workflow_run_id = p_run_id
$$;

-- Have a run that was put down go on now, or at p_at. False when it isn't put down.
CREATE FUNCTION worker.fn_wake_run(p_run_id uuid, p_at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_queue text;
BEGIN
    UPDATE dramatiq.queue q SET mtime = p_at
    FROM worker.fn_messages_of_run(p_run_id) AS m
    WHERE q.message_id = m AND q.state IS NOT DISTINCT FROM 'queued' AND q.mtime > p_at
    RETURNING q.queue_name INTO v_queue;
    IF v_queue IS NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_notify(
        'dramatiq.' || v_queue || '.enqueue', CASE WHEN p_at > clock_timestamp() THEN 'delayed' ELSE '' END);
    RETURN true;
END $$;

-- Have the node that waits in a line for its provider come at p_at, unless it comes before. A row that is locked
-- is that of a node which is just being parked or taken up.
CREATE FUNCTION worker.fn_wake_node_in_line(p_ticket uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_run uuid := (
        SELECT n.run_id FROM worker.parked_nodes n
        WHERE n.ticket = p_ticket AND n.taken_at IS NULL AND n.due_at > p_at);
BEGIN
    IF v_run IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM worker.fn_messages_of_run(v_run) AS m JOIN dramatiq.queue q ON q.message_id = m FOR UPDATE OF q;
    UPDATE worker.parked_nodes p SET due_at = p_at
    FROM (SELECT n.run_id, n.node_id FROM worker.parked_nodes n
          WHERE n.ticket = p_ticket AND n.taken_at IS NULL AND n.due_at > p_at
          FOR NO KEY UPDATE SKIP LOCKED) AS parked
    WHERE p.run_id = parked.run_id AND p.node_id = parked.node_id;
    PERFORM worker.fn_wake_run(v_run, p_at);
END $$;

-- Other work is done that a run waits for: its nodes that wait for that, or the one that is named, have their
-- turn now, without an answer. False when the run isn't put down; one that is at work looks by itself.
CREATE FUNCTION worker.wake_workflow_run(p_run_id uuid, p_node_id uuid DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM FROM lenses.workflow_runs r WHERE r.id = p_run_id FOR NO KEY UPDATE;
    UPDATE worker.parked_nodes p SET due_at = clock_timestamp()
    WHERE p.run_id = p_run_id AND p.reason = 'external_callback' AND p.taken_at IS NULL
      AND (p_node_id IS NULL OR p.node_id = p_node_id);
    RETURN worker.fn_wake_run(p_run_id);
END $$;

-- Answer a node that waits for a person or another system, once, and have its run go on. Gives
-- answered | already_answered | too_late (its time is up, or it has its turn) | needs_no_answer (it waits for a
-- time only) | run_ended | not_waiting (there is no such node, or it doesn't wait).
CREATE FUNCTION worker.answer_node(p_run_id uuid, p_node_id uuid, p_answer jsonb, p_by uuid DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_status text;
    v_node worker.parked_nodes;
BEGIN
    IF coalesce(p_answer, 'null') = 'null' THEN
        RAISE EXCEPTION 'an answer is needed' USING ERRCODE = '22004';
    END IF;
    SELECT r.status INTO v_status FROM lenses.workflow_runs r WHERE r.id = p_run_id FOR NO KEY UPDATE;
    SELECT * INTO v_node FROM worker.parked_nodes p
    WHERE p.run_id = p_run_id AND p.node_id = p_node_id FOR NO KEY UPDATE;
    IF v_node.answer IS NOT NULL THEN
        RETURN 'already_answered';
    ELSIF v_status IN ('completed', 'failed', 'cancelled', 'timed_out') THEN
        RETURN 'run_ended';
    ELSIF v_node.run_id IS NULL OR v_status NOT IN ('running', 'streaming', 'recovered') THEN
        RETURN 'not_waiting';
    ELSIF v_node.reason = 'timer' THEN
        RETURN 'needs_no_answer';
    ELSIF v_node.taken_at IS NOT NULL OR v_node.due_at <= clock_timestamp() THEN
        RETURN 'too_late';
    END IF;
    UPDATE worker.parked_nodes p
    SET answer = p_answer, answered_by = p_by, answered_at = clock_timestamp()
    WHERE p.run_id = p_run_id AND p.node_id = p_node_id;
    PERFORM worker.fn_wake_run(p_run_id);
    RETURN 'answered';
END $$;

-- End the claim of a run that nobody is at: its message will find nothing to do. The claim of a team run is its
-- team's. A claim that is just being opened is left to whoever opens it.
CREATE FUNCTION worker.fn_end_idle_claim(p_run_id uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    WITH idle AS (
        SELECT c.message_id FROM worker.claims c
        WHERE c.kind = 'workflow_run' AND c.job = p_run_id AND c.state IN ('waiting', 'handed_back')
        FOR NO KEY UPDATE SKIP LOCKED
    ), ended AS (
        UPDATE worker.claims c SET state = 'finished', finished_at = now(), outcome = 'gone'
        FROM idle WHERE c.message_id = idle.message_id RETURNING c.message_id
    )
    DELETE FROM dramatiq.queue q USING ended e
    WHERE q.message_id = e.message_id AND q.state IS NOT DISTINCT FROM 'queued'
$$;

-- What remains to be done when a run has ended: nobody may wait for its nodes, and its followers are told,
-- unless they have been. Harmless to repeat.
CREATE FUNCTION worker.fn_close_run(p_run_id uuid, p_status text, p_with_nodes boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF p_with_nodes THEN
        PERFORM worker.fn_close_open_nodes(p_run_id, p_status);
    END IF;
    IF 'run.' || p_status IS DISTINCT FROM (
        SELECT e.type FROM lenses.workflow_run_events e
        WHERE e.run_id = p_run_id AND e.type LIKE 'run.%' AND e.type <> 'run.status.changed'
        ORDER BY e.event_id DESC LIMIT 1) THEN
        PERFORM worker.append_run_events(p_run_id, ARRAY[
            jsonb_build_object('type', 'run.' || p_status, 'payload', v.payload),
            jsonb_build_object('type', 'run.status.changed', 'payload', v.payload)])
        FROM (SELECT jsonb_build_object('status', p_status, 'lifecycle',
                  CASE p_status WHEN 'timed_out' THEN 'failed' ELSE p_status END) AS payload) AS v;
    END IF;
    DELETE FROM worker.run_graphs g WHERE g.run_id = p_run_id;
END $$;

-- A run was ended: by its executor, which has closed it already, or by a person or a sweep. Those of
-- browsers are closed by them. The platform's sweep of stale runs ends their nodes itself.
CREATE FUNCTION worker.fn_close_ended_workflow_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.fn_close_run(
        NEW.id, NEW.status, NOT (NEW.status = 'timed_out' AND OLD.status IN ('running', 'streaming', 'recovered')));
    PERFORM worker.fn_end_idle_claim(NEW.id);
    PERFORM worker.fn_wake_run(NEW.id);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: workflow run % was not closed: %', NEW.id, SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_close_ended_workflow_run AFTER UPDATE OF status ON lenses.workflow_runs
    FOR EACH ROW WHEN (
        OLD.status IS DISTINCT FROM NEW.status AND NEW.status IN ('cancelled', 'failed', 'timed_out')
        AND (NEW.trigger_mode <> 'manual' OR OLD.status NOT IN ('draft', 'validated', 'pending')))
    EXECUTE FUNCTION worker.fn_close_ended_workflow_run();

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
