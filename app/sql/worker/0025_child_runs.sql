-- Runs that a node of another run starts and waits for: one for a sub-workflow, one for each item of a loop.

-- What a node starts altogether.
CREATE TABLE worker.child_batches (
    run_id uuid NOT NULL,
    node_id uuid NOT NULL,
    workflow_id uuid NOT NULL,
    -- most children at once
    concurrency integer NOT NULL CHECK (concurrency > 0),
    -- after a failure no further child is started
    stops_on_failure boolean NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, node_id)
);

CREATE INDEX child_batches_started ON worker.child_batches (started_at);

-- One child for each item; it is what makes sure that there is only one.
CREATE TABLE worker.child_runs (
    run_id uuid NOT NULL,
    node_id uuid NOT NULL,
    item integer NOT NULL,
    inputs jsonb NOT NULL,
    -- null until the child is started
    child_run_id uuid UNIQUE,
    -- the child has failed before and is to be gone on with
    again boolean NOT NULL DEFAULT false,
    -- how it ended: {status, reason, leaves}, the last being ids of the nodes whose outputs are its result;
    -- null until then
    outcome jsonb,
    PRIMARY KEY (run_id, node_id, item)
);

CREATE INDEX child_runs_open ON worker.child_runs (run_id, node_id) WHERE outcome IS NULL;

-- How many sub-workflows a run is within.
CREATE FUNCTION worker.fn_child_depth(p_run_id uuid) RETURNS integer
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH RECURSIVE above AS (
        SELECT c.run_id, 1 AS depth FROM worker.child_runs c WHERE c.child_run_id = p_run_id
        UNION ALL
        SELECT c.run_id, a.depth + 1 FROM above a JOIN worker.child_runs c ON c.child_run_id = a.run_id
        WHERE a.depth < 20
    )
    SELECT coalesce(max(depth), 0) FROM above
$$;

-- The nodes whose outputs are a run's result: what it was ended with early, else those that nothing follows.
CREATE FUNCTION worker.fn_run_leaves(p_run_id uuid) RETURNS uuid[]
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH graph AS (
        SELECT coalesce(g.graph, worker.fn_workflow_graph(r.workflow_id)) AS graph
        FROM lenses.workflow_runs r LEFT JOIN worker.run_graphs g ON g.run_id = r.id WHERE r.id = p_run_id
    ), ended AS (
        SELECT n.node_id, coalesce((n.output_data ->> '__workflow_halt')::boolean, false) AS is_early,
               NOT EXISTS (SELECT FROM graph, jsonb_array_elements(graph.graph -> 'edges') e
                           WHERE e ->> 'source_node_id' = n.node_id::text) AS is_last, w.ordinal
        FROM lenses.workflow_node_results n JOIN lenses.workflow_nodes w ON w.id = n.node_id
        WHERE n.run_id = p_run_id AND n.status = 'completed'
    )
    SELECT coalesce(array_agg(e.node_id ORDER BY e.ordinal, e.node_id), '{}') FROM ended e
    WHERE CASE WHEN (SELECT bool_or(is_early) FROM ended) THEN e.is_early ELSE e.is_last END
$$;

-- How a child ended; null while it hasn't. One that was deleted has failed.
CREATE FUNCTION worker.fn_child_outcome(p_run_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_run lenses.workflow_runs;
BEGIN
    SELECT * INTO v_run FROM lenses.workflow_runs r WHERE r.id = p_run_id;
    IF v_run.id IS NULL THEN
        RETURN jsonb_build_object('status', 'failed', 'reason', 'the run was deleted');
    ELSIF v_run.status = 'completed' THEN
        RETURN jsonb_build_object('status', 'completed', 'leaves', to_jsonb(worker.fn_run_leaves(p_run_id)));
    ELSIF v_run.status IN ('failed', 'cancelled', 'timed_out') THEN
        RETURN jsonb_build_object('status', v_run.status, 'reason', coalesce(
            v_run.metadata #>> '{result,reason}', v_run.metadata #>> '{result,error,message}'));
    END IF;
    RETURN NULL;
END $$;

-- Start the child of an item, or go on with the one that failed. It is its parent's in all that counts: whose
-- it is, which model answers, and what is left of the budget.
CREATE FUNCTION worker.fn_start_child(p_parent lenses.workflow_runs, p_batch worker.child_batches, p_item integer)
RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_child worker.child_runs;
BEGIN
    SELECT * INTO STRICT v_child FROM worker.child_runs c
    WHERE c.run_id = p_batch.run_id AND c.node_id = p_batch.node_id AND c.item = p_item;
    IF v_child.again THEN
        UPDATE lenses.workflow_runs r SET status = 'queued', completed_at = NULL
        WHERE r.id = v_child.child_run_id AND r.status IN ('failed', 'cancelled', 'timed_out');
        UPDATE worker.child_runs c SET again = false WHERE c.child_run_id = v_child.child_run_id;
        RETURN;
    END IF;
    v_child.child_run_id := gen_random_uuid();
    UPDATE worker.child_runs c SET child_run_id = v_child.child_run_id
    WHERE c.run_id = p_batch.run_id AND c.node_id = p_batch.node_id AND c.item = p_item;
    INSERT INTO lenses.workflow_runs (
        id, workflow_id, triggered_by, status, trigger_mode, context_inputs, global_model_id, ai_lenser_id,
        parent_run_id, recursion_depth, budget_credits, metadata)
    SELECT v_child.child_run_id, w.id, coalesce(p_parent.triggered_by, w.lenser_id), 'queued', 'subflow',
           v_child.inputs, p_parent.global_model_id, p_parent.ai_lenser_id, p_parent.id,
           p_parent.recursion_depth + 1,
           CASE WHEN p_parent.budget_credits IS NOT NULL
                THEN greatest(p_parent.budget_credits - worker.fn_spent_with_children(p_parent.id), 0) END,
           jsonb_build_object('origin', 'workflow_node', 'node_id', p_batch.node_id, 'item', p_item)
    FROM lenses.workflows w WHERE w.id = p_batch.workflow_id;
    INSERT INTO lenses.workflow_node_results (run_id, node_id)
    SELECT v_child.child_run_id, n.id FROM lenses.workflow_nodes n WHERE n.workflow_id = p_batch.workflow_id;
    INSERT INTO lenses.workflow_run_chains (parent_run_id, child_run_id, chain_reason)
    VALUES (p_parent.id, v_child.child_run_id, 'workflow_node');
END $$;

-- Bring a batch forward: take down how children ended, start as many as may run, and when none is left, give
-- the node that waits for them its turn. Harmless to repeat. The parent's row, which is locked after a child's
-- and never before one, keeps two from doing this at once.
CREATE FUNCTION worker.fn_tend_children(p_run_id uuid, p_node_id uuid) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_parent lenses.workflow_runs;
    v_batch worker.child_batches;
    v_item integer;
BEGIN
    SELECT * INTO v_parent FROM lenses.workflow_runs r WHERE r.id = p_run_id FOR NO KEY UPDATE;
    SELECT * INTO v_batch FROM worker.child_batches b WHERE b.run_id = p_run_id AND b.node_id = p_node_id;
    IF v_parent.id IS NULL OR v_batch.run_id IS NULL THEN
        RETURN;
    END IF;
    UPDATE worker.child_runs c SET outcome = worker.fn_child_outcome(c.child_run_id)
    WHERE c.run_id = p_run_id AND c.node_id = p_node_id AND c.outcome IS NULL
      AND c.child_run_id IS NOT NULL AND NOT c.again AND worker.fn_child_outcome(c.child_run_id) IS NOT NULL;
    IF v_parent.status NOT IN ('running', 'streaming', 'recovered') OR (v_batch.stops_on_failure AND EXISTS (
        SELECT FROM worker.child_runs c WHERE c.run_id = p_run_id AND c.node_id = p_node_id
          AND c.outcome ->> 'status' <> 'completed')) THEN
        UPDATE worker.child_runs c SET outcome = '{"status": "skipped"}'
        WHERE c.run_id = p_run_id AND c.node_id = p_node_id AND c.outcome IS NULL
          AND (c.child_run_id IS NULL OR c.again);
    END IF;
    FOR v_item IN
        SELECT c.item FROM worker.child_runs c
        WHERE c.run_id = p_run_id AND c.node_id = p_node_id AND c.outcome IS NULL
          AND (c.child_run_id IS NULL OR c.again)
        ORDER BY c.item
        LIMIT greatest(0, v_batch.concurrency - (
            SELECT count(*) FROM worker.child_runs o
            WHERE o.run_id = p_run_id AND o.node_id = p_node_id AND o.outcome IS NULL
              AND o.child_run_id IS NOT NULL AND NOT o.again))
    LOOP
        PERFORM worker.fn_start_child(v_parent, v_batch, v_item);
    END LOOP;
    IF NOT worker.fn_children_are_open(p_run_id, p_node_id) THEN
        PERFORM worker.wake_workflow_run(p_run_id, p_node_id);
    END IF;
END $$;

CREATE FUNCTION worker.fn_children_are_open(p_run_id uuid, p_node_id uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM worker.child_runs c
                   WHERE c.run_id = p_run_id AND c.node_id = p_node_id AND c.outcome IS NULL)
$$;

-- Have a node start a run of a workflow for each of some inputs. Asked again it starts nothing twice. Gives
-- started | unknown_workflow | not_yours (whoever owns a workflow pays for its runs, so it must be the same
-- person) | too_deep | run_ended.
CREATE FUNCTION worker.start_child_runs(
    p_run_id uuid, p_node_id uuid, p_workflow_id uuid, p_inputs jsonb[], p_concurrency integer,
    p_stops_on_failure boolean, p_max_depth integer
) RETURNS text
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_parent lenses.workflow_runs;
    v_owner uuid;
    v_inserted integer;
BEGIN
    SELECT * INTO v_parent FROM lenses.workflow_runs r WHERE r.id = p_run_id FOR NO KEY UPDATE;
    SELECT w.lenser_id INTO v_owner FROM lenses.workflows w WHERE w.id = p_workflow_id AND w.deleted_at IS NULL;
    IF v_parent.id IS NULL OR v_parent.status NOT IN ('running', 'streaming', 'recovered') THEN
        RETURN 'run_ended';
    ELSIF v_owner IS NULL THEN
        RETURN 'unknown_workflow';
    ELSIF v_owner <> (SELECT w.lenser_id FROM lenses.workflows w WHERE w.id = v_parent.workflow_id) THEN
        RETURN 'not_yours';
    ELSIF v_parent.recursion_depth >= 8 OR worker.fn_child_depth(p_run_id) >= p_max_depth THEN
        RETURN 'too_deep';
    END IF;
    INSERT INTO worker.child_batches (run_id, node_id, workflow_id, concurrency, stops_on_failure)
    VALUES (p_run_id, p_node_id, p_workflow_id, p_concurrency, p_stops_on_failure) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_inserted = ROW_COUNT;
    IF v_inserted > 0 THEN
        DELETE FROM worker.child_runs c
        WHERE c.run_id = p_run_id AND c.node_id = p_node_id AND c.item >= cardinality(p_inputs);
        INSERT INTO worker.child_runs AS c (run_id, node_id, item, inputs)
        SELECT p_run_id, p_node_id, i.number - 1, i.inputs
        FROM unnest(p_inputs) WITH ORDINALITY AS i (inputs, number)
        ON CONFLICT (run_id, node_id, item) DO UPDATE
        SET inputs = excluded.inputs, child_run_id = NULL, again = false, outcome = NULL
        WHERE c.inputs <> excluded.inputs;
    END IF;
    PERFORM worker.fn_tend_children(p_run_id, p_node_id);
    RETURN 'started';
END $$;

-- A run that is asked for again starts its batches again: children that completed are kept, the others are gone
-- on with.
CREATE FUNCTION worker.fn_reopen_children(p_run_id uuid) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    DELETE FROM worker.child_batches b WHERE b.run_id = p_run_id;
    UPDATE worker.child_runs c SET outcome = NULL, again = c.child_run_id IS NOT NULL
    WHERE c.run_id = p_run_id AND coalesce(c.outcome ->> 'status', '') <> 'completed';
END $$;

-- How the children of a node ended, in order, with the outputs that are their results, as many as fit into
-- p_most_bytes; a child whose outputs don't has none, and the status too_large.
CREATE FUNCTION worker.child_outcomes(p_run_id uuid, p_node_id uuid, p_most_bytes bigint)
RETURNS TABLE (item integer, child_run_id uuid, status text, reason text, outputs jsonb)
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH sized AS (
        SELECT c.item, c.child_run_id, c.outcome,
               sum(coalesce(o.bytes, 0)) OVER (ORDER BY c.item) <= p_most_bytes AS fits
        FROM worker.child_runs c
        CROSS JOIN LATERAL (
            SELECT sum(octet_length(n.output_data::text)) AS bytes
            FROM lenses.workflow_node_results n
            WHERE n.run_id = c.child_run_id AND c.outcome -> 'leaves' ? n.node_id::text) AS o
        WHERE c.run_id = p_run_id AND c.node_id = p_node_id
    )
    SELECT s.item, s.child_run_id, CASE WHEN s.fits THEN coalesce(s.outcome ->> 'status', 'open') ELSE 'too_large' END,
           s.outcome ->> 'reason',
           CASE WHEN s.fits THEN coalesce((
               SELECT jsonb_agg(jsonb_build_object(
                   'node_id', n.node_id, 'label', w.label, 'output', n.output_data) ORDER BY w.ordinal, n.node_id)
               FROM lenses.workflow_node_results n JOIN lenses.workflow_nodes w ON w.id = n.node_id
               WHERE n.run_id = s.child_run_id AND s.outcome -> 'leaves' ? n.node_id::text), '[]') ELSE '[]' END
    FROM sized s ORDER BY s.item
$$;

-- Cancel the children of a run that has ended. A child that is just writing is waited for only shortly: it may
-- be ending, and wait for its parent's row; the sweep looks again.
CREATE FUNCTION worker.fn_cancel_children(p_run_id uuid) RETURNS void
LANGUAGE plpgsql SET search_path = '' SET lock_timeout = '500ms' AS $$
DECLARE
    v_child uuid;
BEGIN
    FOR v_child IN
        SELECT r.id FROM worker.child_runs c JOIN lenses.workflow_runs r ON r.id = c.child_run_id
        WHERE c.run_id = p_run_id AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out')
    LOOP
        BEGIN
            UPDATE lenses.workflow_runs r
            SET status = 'cancelled', completed_at = greatest(now(), r.started_at)
            WHERE r.id = v_child AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out');
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
END $$;

-- A run has ended: whoever waits for it is told, and nobody works for it any more.
CREATE FUNCTION worker.fn_tell_family() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.fn_tend_children(c.run_id, c.node_id) FROM worker.child_runs c WHERE c.child_run_id = NEW.id;
    PERFORM worker.fn_cancel_children(NEW.id);
    PERFORM worker.fn_cancel_delegated_runs(NEW.id);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: the runs around workflow run % were not told of its end: %', NEW.id, SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_tell_family AFTER UPDATE OF status ON lenses.workflow_runs
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status
                       AND NEW.status IN ('completed', 'failed', 'cancelled', 'timed_out'))
    EXECUTE FUNCTION worker.fn_tell_family();

-- A node that begins to wait for children that have all ended meanwhile has its turn at once.
CREATE FUNCTION worker.fn_do_not_wait_in_vain() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF EXISTS (SELECT FROM worker.child_batches b WHERE b.run_id = NEW.run_id AND b.node_id = NEW.node_id)
       AND NOT worker.fn_children_are_open(NEW.run_id, NEW.node_id) THEN
        NEW.due_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER do_not_wait_in_vain BEFORE INSERT ON worker.parked_nodes
    FOR EACH ROW WHEN (NEW.reason = 'external_callback') EXECUTE FUNCTION worker.fn_do_not_wait_in_vain();

-- What was missed when a run ended, or when one was deleted: tend every open batch, and those that a node waits
-- for in vain; cancel children whose parent has ended. Gives the number of batches.
CREATE FUNCTION worker.tend_child_runs(p_limit integer DEFAULT 500) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_batch record;
    v_count integer := 0;
BEGIN
    FOR v_batch IN
        SELECT DISTINCT c.run_id, c.node_id FROM worker.child_runs c WHERE c.outcome IS NULL
        UNION
        SELECT b.run_id, b.node_id
        FROM worker.child_batches b JOIN worker.parked_nodes p USING (run_id, node_id)
        WHERE p.taken_at IS NULL AND p.due_at IS NULL AND NOT worker.fn_children_are_open(b.run_id, b.node_id)
        LIMIT p_limit
    LOOP
        PERFORM worker.fn_tend_children(v_batch.run_id, v_batch.node_id);
        v_count := v_count + 1;
    END LOOP;
    PERFORM worker.fn_cancel_children(f.run_id) FROM (
        SELECT DISTINCT c.run_id FROM worker.child_runs c WHERE c.outcome IS NULL AND c.child_run_id IS NOT NULL
    ) AS f LEFT JOIN lenses.workflow_runs r ON r.id = f.run_id
    WHERE r.id IS NULL OR r.status IN ('completed', 'failed', 'cancelled', 'timed_out');
    RETURN v_count;
END $$;

-- Forget batches whose run ended long ago.
CREATE FUNCTION worker.prune_child_runs(p_older_than interval, p_batch integer DEFAULT 1000) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_count integer;
BEGIN
    WITH old AS (
        DELETE FROM worker.child_batches d USING (
            SELECT b.run_id, b.node_id
            FROM worker.child_batches b LEFT JOIN lenses.workflow_runs r ON r.id = b.run_id
            WHERE b.started_at < now() - p_older_than
              AND (r.id IS NULL OR r.status IN ('completed', 'failed', 'cancelled', 'timed_out'))
            ORDER BY b.started_at LIMIT p_batch) AS o
        WHERE d.run_id = o.run_id AND d.node_id = o.node_id RETURNING d.run_id, d.node_id
    )
    SELECT count(*) INTO v_count FROM old;
    DELETE FROM worker.child_runs c
    WHERE NOT EXISTS (SELECT FROM worker.child_batches b WHERE b.run_id = c.run_id AND b.node_id = c.node_id)
      AND NOT EXISTS (SELECT FROM lenses.workflow_runs r
                      WHERE r.id = c.run_id AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out'));
    RETURN v_count;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
