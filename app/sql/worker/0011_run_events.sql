-- Events of workflow runs: kept in the platform's log and told to whoever follows the run, in one transaction
-- with the state that they report.

-- How far the followers of a run have been told, and how that went.
CREATE TABLE worker.run_channels (
    run_id uuid PRIMARY KEY,
    published_event_id bigint NOT NULL DEFAULT 0,
    -- messages sent in the second that began then
    window_began_at timestamptz NOT NULL DEFAULT '-infinity',
    window_messages integer NOT NULL DEFAULT 0,
    messages bigint NOT NULL DEFAULT 0,
    -- messages that Realtime didn't take; the events are in the log all the same
    failures bigint NOT NULL DEFAULT 0,
    last_failed_at timestamptz,
    touched_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

CREATE INDEX run_channels_touched ON worker.run_channels (touched_at);

CREATE VIEW worker.publication_failures AS
    SELECT c.run_id, c.failures, c.messages, c.last_failed_at FROM worker.run_channels c WHERE c.failures > 0;
COMMENT ON VIEW worker.publication_failures IS 'Runs whose followers missed messages, with how many.';

-- A payload of at most p_max_bytes: values that are too large become references to the node's stored result.
CREATE FUNCTION worker.fn_light_payload(p_payload jsonb, p_run_id uuid, p_max_bytes integer DEFAULT 200000)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = '' AS $$
DECLARE
    v_light jsonb;
BEGIN
    IF octet_length(p_payload::text) <= p_max_bytes THEN
        RETURN p_payload;
    END IF;
    SELECT jsonb_object_agg(p.key, CASE WHEN octet_length(p.value::text) <= 1024 THEN p.value
        ELSE worker.fn_result_reference(p_run_id, p_payload -> 'nodeId', octet_length(p.value::text)) END)
    INTO v_light FROM jsonb_each(p_payload) AS p;
    IF octet_length(v_light::text) <= p_max_bytes THEN
        RETURN v_light;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('nodeId', p_payload -> 'nodeId')) || worker.fn_result_reference(
        p_run_id, p_payload -> 'nodeId', octet_length(p_payload::text));
END $$;

CREATE FUNCTION worker.fn_result_reference(p_run_id uuid, p_node_id jsonb, p_bytes integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT jsonb_build_object('reference', jsonb_strip_nulls(jsonb_build_object(
        'table', 'lenses.workflow_node_results', 'runId', p_run_id, 'nodeId', p_node_id, 'bytes', p_bytes)))
$$;

-- What may be told of a workflow that isn't public: the channel is open to anyone who knows the run's id.
CREATE FUNCTION worker.fn_discreet_payload(p_payload jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT coalesce(jsonb_object_agg(p.key, p.value), '{}') FROM jsonb_each(p_payload) AS p
    WHERE p.key IN ('nodeId', 'nodeType', 'status', 'lifecycle', 'reason', 'attempt', 'durationMs', 'code')
$$;

-- Add events {type, payload} to a run's log, number them and tell its followers. Gives the last number.
CREATE FUNCTION worker.append_run_events(p_run_id uuid, p_events jsonb[], p_publish boolean DEFAULT true)
RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_last bigint;
BEGIN
    -- The lock that the platform's own writer of this log takes.
    PERFORM pg_advisory_xact_lock(hashtext(p_run_id::text));
    SELECT coalesce(max(e.event_id), 0) INTO v_last FROM lenses.workflow_run_events e WHERE e.run_id = p_run_id;
    INSERT INTO lenses.workflow_run_events (run_id, event_id, type, payload, created_at)
    SELECT p_run_id, v_last + e.number, e.event ->> 'type',
           worker.fn_light_payload(coalesce(e.event -> 'payload', '{}'), p_run_id), clock_timestamp()
    FROM unnest(p_events) WITH ORDINALITY AS e (event, number);
    IF p_publish THEN
        PERFORM worker.publish_run_events(p_run_id);
    END IF;
    RETURN v_last + coalesce(cardinality(p_events), 0);
END $$;

-- The events of a run that its followers have not been told, as envelopes in order.
CREATE FUNCTION worker.unpublished_run_events(p_run_id uuid)
RETURNS TABLE (event_id bigint, type text, envelope jsonb)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT e.event_id, e.type, jsonb_build_object(
        'eventId', e.event_id, 'sequence', e.event_id, 'type', e.type, 'runId', e.run_id,
        'workflowId', r.workflow_id,
        'timestamp', to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'payload', CASE WHEN w.visibility = 'public' THEN e.payload ELSE worker.fn_discreet_payload(e.payload) END)
    FROM lenses.workflow_run_events e
    JOIN lenses.workflow_runs r ON r.id = e.run_id
    JOIN lenses.workflows w ON w.id = r.workflow_id
    WHERE e.run_id = p_run_id AND e.event_id > coalesce((
        SELECT c.published_event_id FROM worker.run_channels c WHERE c.run_id = p_run_id), 0)
    ORDER BY e.event_id;
END $$;

-- Send one message to a run's channel and say whether Realtime took it. It swallows its own errors; but what
-- it sets on the way is undone with them.
CREATE FUNCTION worker.fn_broadcast(p_topic text, p_event text, p_payload jsonb) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM set_config('realtime.topic', '', true);
    PERFORM realtime.send(p_payload, p_event, p_topic, false);
    RETURN current_setting('realtime.topic', true) = p_topic;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: nothing sent to %: %', p_topic, SQLERRM;
    RETURN false;
END $$;

-- Tell a run's followers what they have not been told. More than p_max_per_second messages in a second, and
-- what is left waits for the next occasion; it then goes as messages `run.events` that hold many. The end of
-- a run never waits. Gives the number of messages.
CREATE FUNCTION worker.publish_run_events(p_run_id uuid, p_max_per_second integer DEFAULT 50) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_channel worker.run_channels;
    v_topic text := 'workflow-run-' || p_run_id;
    v_waiting integer;
    v_ends boolean;
    v_last bigint;
    v_message record;
    v_sent integer := 0;
    v_failed integer := 0;
BEGIN
    IF to_regprocedure('realtime.send(jsonb,text,text,boolean)') IS NULL THEN
        RETURN 0;
    END IF;
    INSERT INTO worker.run_channels (run_id) VALUES (p_run_id) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT v_channel FROM worker.run_channels c WHERE c.run_id = p_run_id FOR UPDATE;
    IF v_channel.window_began_at < clock_timestamp() - interval '1 second' THEN
        v_channel.window_began_at := clock_timestamp();
        v_channel.window_messages := 0;
    END IF;
    SELECT count(*), max(e.event_id), bool_or(e.type IN ('run.completed', 'run.failed', 'run.cancelled', 'run.timed_out'))
    INTO v_waiting, v_last, v_ends FROM lenses.workflow_run_events e
    WHERE e.run_id = p_run_id AND e.event_id > v_channel.published_event_id;
    IF v_waiting = 0 OR (v_channel.window_messages >= p_max_per_second AND NOT v_ends) THEN
        RETURN 0;
    END IF;
    FOR v_message IN
        SELECT * FROM worker.fn_run_messages(p_run_id, v_waiting > p_max_per_second - v_channel.window_messages)
    LOOP
        v_sent := v_sent + 1;
        v_failed := v_failed + (NOT worker.fn_broadcast(v_topic, v_message.event, v_message.payload))::integer;
    END LOOP;
    UPDATE worker.run_channels c
    SET published_event_id = v_last, window_began_at = v_channel.window_began_at,
        window_messages = v_channel.window_messages + v_sent, messages = c.messages + v_sent,
        failures = c.failures + v_failed, touched_at = now(),
        last_failed_at = CASE WHEN v_failed > 0 THEN now() ELSE c.last_failed_at END
    WHERE c.run_id = p_run_id;
    RETURN v_sent;
END $$;

-- The messages in which a run's untold events go out: one each, or, coalesced, as many in one as fit.
CREATE FUNCTION worker.fn_run_messages(p_run_id uuid, p_coalesced boolean)
RETURNS TABLE (event text, payload jsonb)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
#variable_conflict use_column
BEGIN
    IF NOT p_coalesced THEN
        RETURN QUERY SELECT e.type, e.envelope FROM worker.unpublished_run_events(p_run_id) e;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT 'run.events',
           jsonb_build_object('runId', p_run_id, 'events', jsonb_agg(g.envelope ORDER BY g.event_id))
    FROM (
        SELECT s.*, sum(s.is_large::integer) OVER (ORDER BY s.event_id) AS large_before
        FROM (
            -- Small neighbours of one part are at most one part and one envelope long together.
            SELECT e.*, sum(octet_length(e.envelope::text)) OVER (ORDER BY e.event_id) / 40000 AS part,
                   octet_length(e.envelope::text) > 40000 AS is_large
            FROM worker.unpublished_run_events(p_run_id) e
        ) AS s
    ) AS g
    GROUP BY g.part, g.large_before, g.is_large
    ORDER BY min(g.event_id);
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
