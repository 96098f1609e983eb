-- Media that nodes of workflows order: each order is a job of its own, made like the media of other jobs, and
-- its node waits meanwhile.

CREATE TABLE worker.node_media (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id uuid NOT NULL,
    node_id uuid NOT NULL,
    -- what is ordered: {provider, model, wire_model, kind, prompt, wishes, source_url}; never a secret
    wanted jsonb NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN (
        'queued',    -- waits for a worker
        'running',   -- being ordered, or its provider is at it
        'finished',  -- made and kept: see `result`
        'failed',    -- and not ordered again unless a person asks for the run again
        'abandoned'  -- its node or run has ended otherwise
    )),
    -- {url, mime, modality, bytes, width, height, duration_seconds}
    result jsonb,
    cost_credits bigint NOT NULL DEFAULT 0,
    error_code text,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);

-- Whoever executes the node, and however often: there is one order, be it open, made or failed.
CREATE UNIQUE INDEX node_media_one ON worker.node_media (run_id, node_id)
    WHERE state <> 'abandoned';
CREATE INDEX node_media_queued ON worker.node_media (created_at) WHERE state = 'queued';

-- Order a node's medium, unless it is ordered or made already, and give the order's id.
CREATE FUNCTION worker.fn_order_node_medium(p_run_id uuid, p_node_id uuid, p_wanted jsonb) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_order uuid;
BEGIN
    INSERT INTO worker.node_media (run_id, node_id, wanted) VALUES (p_run_id, p_node_id, p_wanted)
    ON CONFLICT (run_id, node_id) WHERE state <> 'abandoned' DO NOTHING
    RETURNING id INTO v_order;
    IF v_order IS NULL THEN
        SELECT m.id INTO STRICT v_order FROM worker.node_media m
        WHERE m.run_id = p_run_id AND m.node_id = p_node_id AND m.state <> 'abandoned';
    ELSE
        PERFORM worker.write_tickets('node_media', ARRAY[v_order]);
    END IF;
    RETURN v_order;
END $$;

-- Whether a node still waits for its medium: neither it nor its run has ended.
CREATE FUNCTION worker.fn_node_medium_is_awaited(p_order uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM worker.node_media m
        JOIN lenses.workflow_runs r ON r.id = m.run_id
        JOIN lenses.workflow_node_results n ON n.run_id = m.run_id AND n.node_id = m.node_id
        WHERE m.id = p_order AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out')
          AND NOT worker.fn_node_has_ended(n.status))
$$;

-- An order as its worker needs it, locked, while it is to be made; else null, and one that nobody waits for is
-- abandoned.
CREATE FUNCTION worker.fn_running_node_medium(p_order uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_order worker.node_media;
BEGIN
    SELECT * INTO v_order FROM worker.node_media m WHERE m.id = p_order AND m.state = 'running' FOR UPDATE;
    IF v_order.id IS NULL THEN
        RETURN NULL;
    ELSIF NOT worker.fn_node_medium_is_awaited(p_order) THEN
        UPDATE worker.node_media m SET state = 'abandoned', ended_at = now() WHERE m.id = p_order;
        RETURN NULL;
    END IF;
    RETURN v_order.wanted || jsonb_build_object(
        'id', v_order.id, 'run_id', v_order.run_id, 'node_id', v_order.node_id, 'owner_lenser_id', (
            SELECT w.lenser_id FROM lenses.workflow_runs r JOIN lenses.workflows w ON w.id = r.workflow_id
            WHERE r.id = v_order.run_id));
END $$;

-- Claim the order that a ticket was written for; without one, that which has waited longest.
CREATE FUNCTION worker.fn_claim_node_medium(p_hint uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_order uuid;
BEGIN
    IF p_hint IS NULL THEN
        UPDATE worker.node_media m SET state = 'running' WHERE m.id = (
            SELECT w.id FROM worker.node_media w WHERE w.state = 'queued'
            ORDER BY w.created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING m.id INTO v_order;
    ELSE
        UPDATE worker.node_media m SET state = 'running' WHERE m.id = (
            SELECT w.id FROM worker.node_media w WHERE w.id = p_hint AND w.state IS NOT DISTINCT FROM 'queued'
            FOR UPDATE SKIP LOCKED)
        RETURNING m.id INTO v_order;
    END IF;
    RETURN worker.fn_running_node_medium(v_order);
END $$;

-- Hand a node's medium in: {url, mime, modality, bytes, width, height, duration_seconds, credits_per_usd}, and
-- have its run go on. False when nobody waits for it any more. It becomes an object of the owner's workspace, if there is one.
CREATE FUNCTION worker.fn_complete_node_medium(p_order uuid, p_media jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_order jsonb := worker.fn_running_node_medium(p_order);
    v_run uuid := (v_order ->> 'run_id')::uuid;
    v_node uuid := (v_order ->> 'node_id')::uuid;
    v_owner uuid := (v_order ->> 'owner_lenser_id')::uuid;
    v_kind text := CASE p_media ->> 'modality' WHEN 'music' THEN 'audio' ELSE p_media ->> 'modality' END;
    v_workspace uuid;
    v_credits bigint;
BEGIN
    IF v_order IS NULL THEN
        RETURN false;
    END IF;
    SELECT w.id INTO v_workspace FROM tenancy.workspaces w WHERE w.owner_lenser_id = v_owner
    ORDER BY (w.type = 'personal') DESC, w.created_at LIMIT 1;
    IF v_workspace IS NOT NULL THEN
        PERFORM fn_worker_insert_workflow_media_object(
            v_workspace, v_owner, v_run, v_node, p_media ->> 'url', p_media ->> 'mime', v_kind,
            format('wf-%s-%s.%s', left(v_run::text, 8), left(v_node::text, 8),
                   split_part(split_part(p_media ->> 'mime', '/', 2), '+', 1)));
    END IF;
    v_credits := worker.fn_modality_price(
        (SELECT a.id FROM ai.models a WHERE a.key = v_order ->> 'model'), p_media ->> 'modality',
        (p_media ->> 'duration_seconds')::numeric);
    IF v_credits = 0 THEN
        v_credits := worker.fn_credits(
            worker.fn_job_cost_usd(p_order), (p_media ->> 'credits_per_usd')::numeric);
    END IF;
    UPDATE worker.node_media m
    SET state = 'finished', result = p_media - 'credits_per_usd', ended_at = now(), cost_credits = v_credits
    WHERE m.id = p_order;
    PERFORM worker.wake_workflow_run(v_run, v_node);
    RETURN true;
END $$;

-- End an order without a medium, and have its run go on, whose node fails then.
CREATE FUNCTION worker.fn_end_node_medium(p_order uuid, p_state text, p_code text, p_message text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_order worker.node_media;
BEGIN
    UPDATE worker.node_media m
    SET state = p_state, error_code = p_code, error_message = p_message, ended_at = now()
    WHERE m.id = p_order AND m.state IN ('queued', 'running')
    RETURNING * INTO v_order;
    IF FOUND THEN
        PERFORM worker.wake_workflow_run(v_order.run_id, v_order.node_id);
    END IF;
END $$;

-- What a node waits for may be done before the node is down: it has its next turn at once then.
CREATE FUNCTION worker.fn_notice_made_medium() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF EXISTS (SELECT FROM worker.node_media m WHERE m.run_id = NEW.run_id AND m.node_id = NEW.node_id
               AND m.id::text = NEW.memo ->> 'order' AND m.state NOT IN ('queued', 'running')) THEN
        NEW.due_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER notice_made_medium BEFORE INSERT OR UPDATE OF parked_at ON worker.parked_nodes
    FOR EACH ROW WHEN (NEW.reason = 'external_callback' AND NEW.memo ? 'order')
    EXECUTE FUNCTION worker.fn_notice_made_medium();

-- Whether a person may have a file of Storage read: they own it, or a run of a workflow of theirs made it.
CREATE FUNCTION worker.fn_may_read_object(p_lenser_id uuid, p_url text, p_bucket text, p_object_key text)
RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM media.objects o
        WHERE o.owner_lenser_id = p_lenser_id
          AND (o.external_url = p_url OR (o.bucket = p_bucket AND o.object_key = p_object_key))
    ) OR EXISTS (
        SELECT FROM worker.node_media m
        JOIN lenses.workflow_runs r ON r.id = m.run_id
        JOIN lenses.workflows w ON w.id = r.workflow_id
        WHERE w.lenser_id = p_lenser_id AND m.result ->> 'url' = p_url)
$$;

INSERT INTO worker.kinds (kind, actor, queue, claim_next, is_waiting, reload, id_key, count_claimable, call, cancel) VALUES (
    'node_media', 'make_node_medium', 'media',
    'SELECT worker.fn_claim_node_medium($1)',
    'SELECT EXISTS (SELECT FROM worker.node_media m WHERE m.id = $1 AND m.state IS NOT DISTINCT FROM ''queued'')',
    'SELECT worker.fn_running_node_medium($1)',
    'id',
    'SELECT count(*) FROM worker.node_media m WHERE m.state = ''queued''',
    'SELECT m.wanted ->> ''provider'' AS provider, m.wanted ->> ''model'' AS model, ''platform'' AS key,
            w.lenser_id::text AS owner
     FROM worker.node_media m JOIN lenses.workflow_runs r ON r.id = m.run_id
     JOIN lenses.workflows w ON w.id = r.workflow_id
     WHERE m.id = $1',
    'SELECT was, refusal FROM worker.fn_cancel_node_medium($1)');

-- The node fails: its run has no medium to go on with.
CREATE FUNCTION worker.fn_cancel_node_medium(p_order uuid) RETURNS TABLE (was text, refusal text)
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_state text;
BEGIN
    SELECT m.state INTO v_state FROM worker.node_media m WHERE m.id = p_order FOR UPDATE;
    IF v_state IS NULL THEN
        RETURN;
    ELSIF v_state NOT IN ('queued', 'running') THEN
        RETURN QUERY SELECT v_state, 'the order has ended';
        RETURN;
    END IF;
    PERFORM worker.fn_abandon_media_tasks('node_media', p_order);
    PERFORM worker.fn_end_node_medium(p_order, 'abandoned', 'worker.cancelled', 'cancelled by an operator');
    RETURN QUERY SELECT v_state, NULL::text;
END $$;

REVOKE ALL ON worker.node_media FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
