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
    -- a worker is sending, and nobody else is to, so that messages stay in order
    sending_until timestamptz,
    sender uuid,
    touched_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70);

CREATE INDEX run_channels_touched ON worker.run_channels (touched_at);

-- How followers are told: workers choose it when they start, for all who write events.
CREATE TABLE worker.run_event_transport (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    transport text NOT NULL CHECK (transport IN (
        'database',  -- with realtime.send, in the transaction of the events
        'rest',      -- by a worker, over HTTP and right after it
        'off'
    ))
);
INSERT INTO worker.run_event_transport (transport) VALUES ('database');

CREATE FUNCTION worker.choose_run_event_transport(p_transport text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    -- Every process asks for it when it starts, in a database that is read only too.
    IF EXISTS (SELECT FROM worker.run_event_transport t WHERE t.transport <> p_transport) THEN
        UPDATE worker.run_event_transport t SET transport = p_transport WHERE t.transport <> p_transport;
    END IF;
END;
$$;

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

-- The events of a run up to p_last that its followers have not been told, as envelopes in order.
CREATE FUNCTION worker.unpublished_run_events(p_run_id uuid, p_last bigint)
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
    WHERE e.run_id = p_run_id AND e.event_id <= p_last AND e.event_id > coalesce((
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

CREATE TYPE worker.untold_events AS (count bigint, last bigint, ends boolean);

-- Tell a run's followers what they have not been told, or have a worker do so. What is more than
-- p_max_per_second messages in a second waits for the next occasion; it then goes as messages `run.events` that
-- hold many. The end of a run never waits, nor does anything with p_flush. Gives the number of messages.
CREATE FUNCTION worker.publish_run_events(
    p_run_id uuid, p_max_per_second integer DEFAULT 50, p_flush boolean DEFAULT false
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_transport text := (SELECT t.transport FROM worker.run_event_transport t);
    v_message record;
    v_sent integer := 0;
    v_failed integer := 0;
BEGIN
    IF v_transport = 'rest' THEN
        PERFORM worker.fn_have_run_events_sent(p_run_id, p_flush);
        RETURN 0;
    ELSIF v_transport = 'off' OR to_regprocedure('realtime.send(jsonb,text,text,boolean)') IS NULL THEN
        RETURN 0;
    END IF;
    FOR v_message IN SELECT * FROM worker.fn_take_run_messages(p_run_id, p_max_per_second, p_flush) LOOP
        v_sent := v_sent + 1;
        v_failed := v_failed + (NOT worker.fn_broadcast(
            'workflow-run-' || p_run_id, v_message.event, v_message.payload))::integer;
    END LOOP;
    IF v_failed > 0 THEN
        UPDATE worker.run_channels c SET failures = c.failures + v_failed, last_failed_at = now()
        WHERE c.run_id = p_run_id;
    END IF;
    RETURN v_sent;
END $$;

-- A message for the actor that sends. One that waits already is enough, but for the last word: who takes that
-- one may not see it yet.
CREATE FUNCTION worker.fn_have_run_events_sent(p_run_id uuid, p_flush boolean) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_untold worker.untold_events := worker.fn_untold_events(p_run_id);
BEGIN
    IF v_untold.count > 0 THEN
        PERFORM worker.enqueue(
            'publish_run_events', jsonb_build_object('run', p_run_id), 'run_events', now(),
            CASE WHEN NOT (p_flush OR v_untold.ends) THEN 'run_events:' || p_run_id END);
    END IF;
END $$;

-- How many events of a run its followers have not been told, of which at most p_most are counted, and whether
-- the end of the run is among them. Nothing much follows an end, so it is looked for among the newest: who
-- writes page after page asks this each time, while thousands wait.
CREATE FUNCTION worker.fn_untold_events(p_run_id uuid, p_most integer DEFAULT 1) RETURNS worker.untold_events
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_untold worker.untold_events;
    v_told bigint := coalesce((
        SELECT c.published_event_id FROM worker.run_channels c WHERE c.run_id = p_run_id), 0);
BEGIN
    SELECT max(e.event_id),
           coalesce(bool_or(e.type IN ('run.completed', 'run.failed', 'run.cancelled', 'run.timed_out')), false)
    INTO v_untold.last, v_untold.ends FROM (
        SELECT u.event_id, u.type FROM lenses.workflow_run_events u
        WHERE u.run_id = p_run_id AND u.event_id > v_told ORDER BY u.event_id DESC LIMIT 20) AS e;
    SELECT count(*) INTO v_untold.count FROM (
        SELECT FROM lenses.workflow_run_events u
        WHERE u.run_id = p_run_id AND u.event_id > v_told LIMIT p_most) AS e;
    RETURN v_untold;
END $$;

-- Take the messages that may go out now; they count as sent.
CREATE FUNCTION worker.fn_take_run_messages(p_run_id uuid, p_max_per_second integer, p_flush boolean)
RETURNS TABLE (event text, payload jsonb)
LANGUAGE plpgsql SET search_path = '' AS $$
#variable_conflict use_column
DECLARE
    v_channel worker.run_channels;
    v_untold worker.untold_events;
    v_sent integer;
BEGIN
    INSERT INTO worker.run_channels (run_id) VALUES (p_run_id) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT v_channel FROM worker.run_channels c WHERE c.run_id = p_run_id FOR UPDATE;
    IF v_channel.window_began_at < clock_timestamp() - interval '1 second' THEN
        v_channel.window_began_at := clock_timestamp();
        v_channel.window_messages := 0;
    END IF;
    v_untold := worker.fn_untold_events(p_run_id, p_max_per_second + 1);
    IF v_untold.count = 0
       OR (v_channel.window_messages >= p_max_per_second AND NOT (v_untold.ends OR p_flush)) THEN
        RETURN;
    END IF;
    -- Events may have been added since they were counted: those are for the next time.
    RETURN QUERY SELECT m.event, m.payload FROM worker.fn_run_messages(
        p_run_id, v_untold.last, v_untold.count > p_max_per_second - v_channel.window_messages) m;
    GET DIAGNOSTICS v_sent = ROW_COUNT;
    UPDATE worker.run_channels c
    SET published_event_id = v_untold.last, window_began_at = v_channel.window_began_at,
        window_messages = v_channel.window_messages + v_sent, messages = c.messages + v_sent, touched_at = now()
    WHERE c.run_id = p_run_id;
END $$;

-- What a worker is to send for a run now, in order: {state, messages: [{event, payload}], sender}. The state is
-- ready; busy, while another worker is sending for it; or full, when there is more than may go out in this second.
-- Who gets messages settles them as that sender.
CREATE FUNCTION worker.take_run_messages(
    p_run_id uuid, p_lease_seconds integer DEFAULT 60, p_max_per_second integer DEFAULT 50
) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_messages jsonb;
    v_sender uuid := gen_random_uuid();
BEGIN
    -- Two who are the first must not both find that nobody is sending.
    INSERT INTO worker.run_channels (run_id) VALUES (p_run_id) ON CONFLICT DO NOTHING;
    PERFORM FROM worker.run_channels c WHERE c.run_id = p_run_id FOR UPDATE;
    IF EXISTS (SELECT FROM worker.run_channels c
               WHERE c.run_id = p_run_id AND c.sending_until > clock_timestamp()) THEN
        RETURN '{"state": "busy", "messages": []}';
    END IF;
    SELECT coalesce(jsonb_agg(to_jsonb(m)), '[]') INTO v_messages
    FROM worker.fn_take_run_messages(p_run_id, p_max_per_second, false) m;
    IF v_messages = '[]' THEN
        RETURN jsonb_build_object('messages', v_messages, 'state', CASE
            WHEN (worker.fn_untold_events(p_run_id)).count > 0 THEN 'full' ELSE 'ready' END);
    END IF;
    UPDATE worker.run_channels c
    SET sending_until = clock_timestamp() + p_lease_seconds * interval '1 second', sender = v_sender
    WHERE c.run_id = p_run_id;
    RETURN jsonb_build_object('state', 'ready', 'messages', v_messages, 'sender', v_sender);
END $$;

-- A worker has sent what it took; so many messages of it were not taken by Realtime. One that outlived its lease
-- leaves the turn to whoever has it by now.
CREATE FUNCTION worker.settle_run_messages(p_run_id uuid, p_sender uuid, p_failed integer) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE worker.run_channels c
    SET sending_until = CASE WHEN c.sender = p_sender THEN NULL ELSE c.sending_until END,
        failures = c.failures + p_failed,
        last_failed_at = CASE WHEN p_failed > 0 THEN now() ELSE c.last_failed_at END
    WHERE c.run_id = p_run_id
$$;

-- The messages in which a run's untold events up to p_last go out: one each, or, coalesced, as many in one as fit.
CREATE FUNCTION worker.fn_run_messages(p_run_id uuid, p_last bigint, p_coalesced boolean)
RETURNS TABLE (event text, payload jsonb)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
#variable_conflict use_column
BEGIN
    IF NOT p_coalesced THEN
        RETURN QUERY SELECT e.type, e.envelope FROM worker.unpublished_run_events(p_run_id, p_last) e;
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
            FROM worker.unpublished_run_events(p_run_id, p_last) e
        ) AS s
    ) AS g
    GROUP BY g.part, g.large_before, g.is_large
    ORDER BY min(g.event_id);
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
