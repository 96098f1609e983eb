-- The broker: dramatiq-pg's table, with leases in place of its advisory locks.
--
-- The seven columns of dramatiq-pg 0.12 keep their names, types and meaning, so that its producers and
-- `dramatiq-pg stats` work. Its consumers must not share the table: they take messages that others hold.

CREATE SCHEMA IF NOT EXISTS dramatiq;
REVOKE ALL ON SCHEMA worker, dramatiq FROM PUBLIC;

CREATE TYPE dramatiq.state AS ENUM (
    'queued',    -- waiting, or delayed until mtime
    'consumed',  -- held by the process `owner` since mtime
    'rejected',  -- a dead letter: failed for good at mtime, with its traceback in the message
    'done'       -- finished, kept only where results are wanted; ours are deleted
);

CREATE TABLE dramatiq.queue (
    message_id uuid PRIMARY KEY,
    queue_name text NOT NULL DEFAULT 'default',
    state dramatiq.state DEFAULT 'queued',
    -- queued: not to be delivered before this time; else: when the state was entered
    mtime timestamptz NOT NULL DEFAULT now(),
    message jsonb,
    result jsonb,
    result_ttl timestamptz,
    -- the process that holds the message, in worker.processes
    owner uuid,
    -- how often it was handed to a process; names one delivery, so that a late ack can't end a newer one
    deliveries integer NOT NULL DEFAULT 0,
    -- at most one waiting message of a key
    unique_key text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX queue_waiting ON dramatiq.queue (queue_name, mtime) WHERE state = 'queued';
CREATE INDEX queue_held ON dramatiq.queue (owner, mtime) WHERE state = 'consumed';
CREATE INDEX queue_ended ON dramatiq.queue (mtime) WHERE state IN ('rejected', 'done');
-- While somebody keeps an old view of the database, these keep all that was ever in them since. Whoever looks for a
-- message by its id must not be led through one of them, as short as the planner thinks it is, and therefore asks
-- for a state by `IS NOT DISTINCT FROM`, which fits no index.
CREATE UNIQUE INDEX queue_unique_waiting ON dramatiq.queue (unique_key)
    WHERE state = 'queued' AND unique_key IS NOT NULL;

-- A stock producer writes delayed messages to `<queue>.DQ` with an eta; here they wait in their own queue.
CREATE FUNCTION dramatiq.fn_adopt_delayed_message() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.queue_name := regexp_replace(NEW.queue_name, '\.DQ$', '');
    NEW.mtime := coalesce(to_timestamp((NEW.message #>> '{options,eta}')::double precision / 1000), now());
    NEW.message := jsonb_set(NEW.message #- '{options,eta}', '{queue_name}', to_jsonb(NEW.queue_name));
    PERFORM pg_notify('dramatiq.' || NEW.queue_name || '.enqueue', 'delayed');
    RETURN NEW;
END $$;

CREATE TRIGGER adopt_delayed_message BEFORE INSERT ON dramatiq.queue
    FOR EACH ROW WHEN (NEW.queue_name LIKE '%.DQ') EXECUTE FUNCTION dramatiq.fn_adopt_delayed_message();

-- A process that works; it is alive while its lease runs. All times are the database's.
CREATE TABLE worker.processes (
    id uuid PRIMARY KEY,
    worker_id text NOT NULL,
    threads integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL
);

-- Tell the takers of a queue that a message is there for them, or in how many milliseconds one will be.
CREATE FUNCTION worker.fn_tell_takers(p_queue text, p_delay_ms double precision) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM pg_notify('dramatiq.' || p_queue || '.enqueue',
                      CASE WHEN p_delay_ms > 0 THEN 'delayed ' || ceil(p_delay_ms)::bigint ELSE '' END);
END $$;

-- Put messages into the table, or back into it (a retry keeps its id), in one round trip.
-- Arguments are parallel arrays; a delay is counted on the database's clock. Wakes each queue once.
CREATE FUNCTION worker.enqueue_messages(
    p_messages jsonb[], p_delays_ms bigint[], p_unique_keys text[] DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_count integer;
    v_queue text;
BEGIN
    -- Writers of one key queue up here, so that the later one sees the earlier one's message.
    PERFORM pg_advisory_xact_lock(hashtext('worker.unique_key'), k.hash)
    FROM (SELECT DISTINCT hashtext(key) AS hash FROM unnest(p_unique_keys) AS key
          WHERE key IS NOT NULL ORDER BY 1) AS k;
    INSERT INTO dramatiq.queue AS q (message_id, queue_name, state, mtime, message, unique_key)
    SELECT DISTINCT ON (coalesce(m.unique_key, m.message ->> 'message_id'))
           (m.message ->> 'message_id')::uuid, m.message ->> 'queue_name', 'queued'::dramatiq.state,
           greatest(worker.fn_floor(m.message ->> 'queue_name'),
                    now() + coalesce(m.delay_ms, 0) * interval '1 millisecond'),
           m.message, m.unique_key
    FROM unnest(p_messages, p_delays_ms, p_unique_keys) AS m (message, delay_ms, unique_key)
    WHERE m.unique_key IS NULL OR NOT EXISTS (
        SELECT FROM dramatiq.queue w WHERE w.unique_key = m.unique_key AND w.state = 'queued')
    ON CONFLICT (message_id) DO UPDATE
        SET state = 'queued', mtime = excluded.mtime, message = excluded.message,
            queue_name = excluded.queue_name, owner = NULL, unique_key = NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    FOR v_queue IN SELECT DISTINCT m ->> 'queue_name' FROM unnest(p_messages) AS m LOOP
        PERFORM pg_notify('dramatiq.' || v_queue || '.enqueue',
            CASE WHEN (SELECT max(d) FROM unnest(p_delays_ms) AS d) > 0 THEN 'delayed' ELSE '' END);
    END LOOP;
    RETURN v_count;
END $$;

-- Below this nothing waits in a queue. While somebody keeps an old view of the database, Postgres removes none of
-- the index entries of messages that have gone, and all of them stand before those that wait: whoever looks for
-- the first one begins here. Processes raise the floors with their leases. Nothing of ours is sent with an older time; what
-- comes in below by a transaction that took long, or by others, is found by the next of them that looks so far back.
CREATE TABLE worker.queue_floors (
    queue_name text PRIMARY KEY,
    floor timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

CREATE FUNCTION worker.fn_floor(p_queue text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce((SELECT f.floor FROM worker.queue_floors f WHERE f.queue_name = p_queue), '-infinity')
$$;

-- The time of the message that is next in a queue, or null.
CREATE FUNCTION worker.fn_first_turn(p_queue text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off AS $$
DECLARE
    v_floor timestamptz := worker.fn_floor(p_queue);
BEGIN
    RETURN (SELECT w.mtime FROM dramatiq.queue w
            WHERE w.queue_name = p_queue AND w.state = 'queued' AND w.mtime >= v_floor
            ORDER BY w.mtime LIMIT 1);
END $$;

-- Raise the floors of these queues to ten seconds before whatever waits. Rarely, since each change leaves a
-- dead row too; but at once where something older waits. Looks so far below the floors, or at everything.
CREATE FUNCTION worker.raise_floors(p_queues text[], p_recent_seconds double precision DEFAULT NULL) RETURNS void
LANGUAGE sql SET search_path = '' SET enable_seqscan = off AS $$
    WITH looked AS MATERIALIZED (
        SELECT q.name, least(now(), m.first_turn) - interval '10 seconds' AS new_floor, o.floor,
               coalesce(o.floor > m.first_turn, false) AS is_too_high
        FROM unnest(p_queues) AS q (name)
        LEFT JOIN worker.queue_floors o ON o.queue_name = q.name
        LEFT JOIN LATERAL (
            SELECT w.mtime AS first_turn FROM dramatiq.queue w
            WHERE w.queue_name = q.name AND w.state = 'queued'
              AND w.mtime >= coalesce(o.floor - p_recent_seconds * interval '1 second', '-infinity')
            ORDER BY w.mtime LIMIT 1) AS m ON true
    ), told AS MATERIALIZED (
        SELECT pg_notify('dramatiq.' || l.name || '.enqueue', '') FROM looked l WHERE l.is_too_high
    )
    INSERT INTO worker.queue_floors AS f (queue_name, floor)
    SELECT l.name, l.new_floor FROM looked l
    WHERE (SELECT count(*) FROM told) >= 0
      AND (l.floor IS NULL OR l.is_too_high OR l.floor < l.new_floor - interval '5 seconds')
    ORDER BY l.name
    ON CONFLICT (queue_name) DO UPDATE SET floor = excluded.floor
$$;

-- The place in line of a message that was put down in good order: before all that wait in its queue, since it
-- had its turn, and before what was sent since to others. Senders write what they like as a timestamp.
CREATE FUNCTION worker.fn_front(p_queue text, p_message jsonb) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT greatest(worker.fn_floor(p_queue), least(
        worker.fn_first_turn(p_queue) - interval '1 microsecond',
        now() - interval '1 second' - interval '1 millisecond' * least(86400000, greatest(0,
            extract(epoch FROM now()) * 1000 - CASE WHEN jsonb_typeof(p_message -> 'message_timestamp') = 'number'
                THEN (p_message ->> 'message_timestamp')::numeric END))))
$$;

-- Put a message back for another try; false when the process that asks no longer holds it. It doesn't wait for the
-- disk, as all who notify wait for each other meanwhile: after a crash of the server the message is given back.
CREATE FUNCTION worker.retry_message(
    p_owner uuid, p_id uuid, p_delivery integer, p_message jsonb, p_delay_ms bigint
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_queue text;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE dramatiq.queue w
    SET state = 'queued', owner = NULL, unique_key = NULL, message = p_message,
        mtime = CASE WHEN p_delay_ms > 0 THEN now() + p_delay_ms * interval '1 millisecond'
                     ELSE worker.fn_front(w.queue_name, p_message) END
    WHERE w.message_id = p_id AND w.deliveries = p_delivery AND w.owner = p_owner
      AND w.state IS NOT DISTINCT FROM 'consumed'
    RETURNING w.queue_name INTO v_queue;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM worker.fn_tell_takers(v_queue, p_delay_ms);
    PERFORM worker.fn_wake_capped_queues(ARRAY[v_queue]);
    RETURN true;
END $$;

-- One new message for an actor, for triggers and for people at psql; a waiting one of the key is kept.
CREATE FUNCTION worker.enqueue(
    p_actor text, p_kwargs jsonb DEFAULT '{}', p_queue text DEFAULT 'default',
    p_due_at timestamptz DEFAULT now(), p_unique_key text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_id uuid := gen_random_uuid();
BEGIN
    PERFORM worker.enqueue_messages(
        ARRAY[worker.message(v_id, p_actor, p_queue, p_kwargs)],
        ARRAY[ceil(extract(epoch FROM p_due_at - now()) * 1000)::bigint],
        ARRAY[p_unique_key]);
    RETURN v_id;
END $$;

-- A message as Dramatiq encodes it.
CREATE FUNCTION worker.message(p_id uuid, p_actor text, p_queue text, p_kwargs jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'queue_name', p_queue, 'actor_name', p_actor, 'args', '[]'::jsonb, 'kwargs', p_kwargs,
        'options', '{}'::jsonb, 'message_id', p_id,
        'message_timestamp', floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
$$;

-- What people decide about a queue while the worker runs; a queue without a row is open and uncapped.
CREATE TABLE worker.queue_controls (
    queue_name text PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    -- most messages in all processes' hands at once
    max_in_flight integer CHECK (max_in_flight > 0),
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION worker.fn_announce_queue_control() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM pg_notify('dramatiq.' || coalesce(NEW.queue_name, OLD.queue_name) || '.enqueue', '');
    RETURN NULL;
END $$;

CREATE TRIGGER announce_queue_control AFTER INSERT OR UPDATE OR DELETE ON worker.queue_controls
    FOR EACH ROW EXECUTE FUNCTION worker.fn_announce_queue_control();

-- Pause or reopen a queue on all processes; what is running goes on.
CREATE FUNCTION worker.pause_queue(p_queue text, p_paused boolean DEFAULT true) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.queue_controls AS c (queue_name, paused) VALUES (p_queue, p_paused)
    ON CONFLICT (queue_name) DO UPDATE SET paused = p_paused, changed_at = now()
$$;

-- Let all processes together work on at most so many messages of a queue; null lifts the cap.
CREATE FUNCTION worker.cap_queue(p_queue text, p_max_in_flight integer) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.queue_controls AS c (queue_name, max_in_flight) VALUES (p_queue, p_max_in_flight)
    ON CONFLICT (queue_name) DO UPDATE SET max_in_flight = p_max_in_flight, changed_at = now()
$$;

-- Hand up to p_limit due messages to a process: all its queues in one statement, at most p_caps[i] of
-- p_queues[i]. A queue ranked behind counts as p_handicaps_ms[i] younger than it is, so nothing starves.
CREATE FUNCTION worker.take_messages(
    p_owner uuid, p_queues text[], p_caps integer[], p_handicaps_ms integer[], p_limit integer
) RETURNS TABLE (message_id text, queue_name text, message text, delivery integer)
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    -- Without a lease others would take these for a dead process's.
    IF NOT EXISTS (SELECT FROM worker.processes p WHERE p.id = p_owner AND p.lease_until > now()) THEN
        RETURN;
    END IF;
    -- Takers of a capped queue go one after the other, so that each counts what the others took.
    PERFORM pg_advisory_xact_lock(hashtext('worker.queue_cap'), hashtext(c.queue_name))
    FROM worker.queue_controls c
    WHERE c.max_in_flight IS NOT NULL AND NOT c.paused AND c.queue_name = ANY (p_queues);

    RETURN QUERY
    WITH open_queues AS MATERIALIZED (
        SELECT q.name, q.handicap_ms, worker.fn_floor(q.name) AS floor, least(q.cap, p_limit, c.max_in_flight - (
            SELECT count(*) FROM dramatiq.queue h
            WHERE c.max_in_flight IS NOT NULL AND h.queue_name = q.name AND h.state = 'consumed')) AS room
        FROM unnest(p_queues, p_caps, p_handicaps_ms) AS q (name, cap, handicap_ms)
        LEFT JOIN worker.queue_controls c ON c.queue_name = q.name
        WHERE NOT coalesce(c.paused, false)
    ), candidates AS MATERIALIZED (
        SELECT q.name, m.message_id, m.mtime + q.handicap_ms * interval '1 millisecond' AS turn
        FROM open_queues q
        CROSS JOIN LATERAL (
            SELECT w.message_id, w.mtime FROM dramatiq.queue w
            WHERE w.queue_name = q.name AND w.state = 'queued' AND w.mtime BETWEEN q.floor AND now()
            ORDER BY w.mtime
            LIMIT greatest(q.room, 0)
            FOR UPDATE SKIP LOCKED
        ) AS m
    ), due AS MATERIALIZED (
        SELECT c.message_id, c.turn FROM candidates c ORDER BY c.turn LIMIT p_limit
    ), taken AS (
        UPDATE dramatiq.queue w
        SET state = 'consumed', owner = p_owner, mtime = now(), deliveries = w.deliveries + 1
        FROM due
        -- The array leaves no other way to the messages than their keys: a table that has been emptied is short
        -- to the planner, but not while somebody keeps an old view of it.
        WHERE w.message_id = due.message_id AND w.message_id = ANY (ARRAY(SELECT d.message_id FROM due d))
        RETURNING w.message_id, w.queue_name, w.message::text AS message, w.deliveries, due.turn
    ), left_over AS MATERIALIZED (
        -- What was locked but not taken was passed over by others meanwhile: they shall look again.
        SELECT pg_notify('dramatiq.' || n.name || '.enqueue', '')
        FROM (SELECT DISTINCT c.name FROM candidates c
              WHERE NOT EXISTS (SELECT FROM due d WHERE d.message_id = c.message_id)) AS n
    )
    SELECT t.message_id::text, t.queue_name, t.message, t.deliveries
    FROM taken t WHERE (SELECT count(*) FROM left_over) >= 0 ORDER BY t.turn;
END $$;

-- Milliseconds until the next delayed message of these queues is due; null when none waits.
CREATE FUNCTION worker.next_due_ms(p_queues text[]) RETURNS double precision
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT extract(epoch FROM min(d.mtime) - clock_timestamp()) * 1000
    FROM unnest(p_queues) AS q (name)
    CROSS JOIN LATERAL (
        SELECT w.mtime FROM dramatiq.queue w
        WHERE w.queue_name = q.name AND w.state = 'queued' AND w.mtime > now()
        ORDER BY w.mtime LIMIT 1
    ) AS d
$$;

-- Tell the takers of these queues that one under a cap may have room again.
CREATE FUNCTION worker.fn_wake_capped_queues(p_queues text[]) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    SELECT pg_notify('dramatiq.' || c.queue_name || '.enqueue', '')
    FROM worker.queue_controls c WHERE c.max_in_flight IS NOT NULL AND c.queue_name = ANY (p_queues)
$$;

-- Delete finished messages. Only the delivery that was acknowledged counts, and only for its owner. No message that
-- is gone takes up room under a limit.
CREATE FUNCTION worker.acknowledge_messages(p_owner uuid, p_ids uuid[], p_deliveries integer[]) RETURNS integer
LANGUAGE plpgsql SET search_path = ''
    SET enable_seqscan = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_ids uuid[];
    v_queues text[];
BEGIN
    WITH ended AS (
        DELETE FROM dramatiq.queue w
        USING unnest(p_ids, p_deliveries) AS d (message_id, delivery)
        WHERE w.message_id = ANY (p_ids) AND w.message_id = d.message_id AND w.deliveries = d.delivery
          AND w.owner = p_owner AND w.state IS NOT DISTINCT FROM 'consumed'
        RETURNING w.message_id, w.queue_name
    )
    SELECT array_agg(e.message_id), array_agg(e.queue_name) INTO v_ids, v_queues FROM ended e;
    PERFORM worker.settle_leftovers(v_ids);
    PERFORM worker.fn_wake_capped_queues(v_queues);
    RETURN coalesce(cardinality(v_queues), 0);
END $$;

-- Keep failed messages as dead letters, with what Dramatiq wrote into them.
CREATE FUNCTION worker.reject_messages(
    p_owner uuid, p_ids uuid[], p_deliveries integer[], p_messages jsonb[]
) RETURNS integer
LANGUAGE plpgsql SET search_path = ''
    SET enable_seqscan = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_ids uuid[];
    v_queues text[];
BEGIN
    WITH ended AS (
        UPDATE dramatiq.queue w
        SET state = 'rejected', mtime = now(), owner = NULL, message = coalesce(d.message, w.message)
        FROM unnest(p_ids, p_deliveries, p_messages) AS d (message_id, delivery, message)
        WHERE w.message_id = ANY (p_ids) AND w.message_id = d.message_id AND w.deliveries = d.delivery
          AND w.owner = p_owner AND w.state IS NOT DISTINCT FROM 'consumed'
        RETURNING w.message_id, w.queue_name
    )
    SELECT array_agg(e.message_id), array_agg(e.queue_name) INTO v_ids, v_queues FROM ended e;
    PERFORM worker.settle_leftovers(v_ids);
    PERFORM worker.fn_wake_capped_queues(v_queues);
    RETURN coalesce(cardinality(v_queues), 0);
END $$;

-- Give messages back that a process holds: the named ones, or all of them; those of a dead one go to the end of
-- the line, since they may be what it died of. They were counted for their unique key once and give it up, since
-- a new message of that key may wait by now.
CREATE FUNCTION worker.return_messages(
    p_owner uuid, p_ids uuid[] DEFAULT NULL, p_to_front boolean DEFAULT false
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_queues text[];
BEGIN
    WITH returned AS (
        UPDATE dramatiq.queue w
        SET state = 'queued', owner = NULL, unique_key = NULL,
            mtime = CASE WHEN p_to_front THEN worker.fn_front(w.queue_name, w.message) ELSE now() END
        WHERE w.owner = p_owner AND w.state = 'consumed' AND (p_ids IS NULL OR w.message_id = ANY (p_ids))
        RETURNING w.queue_name
    )
    SELECT array_agg(r.queue_name) INTO v_queues FROM returned r;
    PERFORM pg_notify('dramatiq.' || name || '.enqueue', '')
    FROM (SELECT DISTINCT unnest(v_queues) AS name) AS queues;
    RETURN coalesce(cardinality(v_queues), 0);
END $$;

-- Give messages back that a living process holds without knowing of it: the word that it was given them got
-- lost with its session, or a crash of the server undid an acknowledgement. p_ids and p_deliveries are those
-- that it knows; one that was taken within p_older_than_seconds may be on its way there. Looks at what was taken
-- within p_recent_seconds before that, or at everything.
CREATE FUNCTION worker.return_forgotten_messages(
    p_owner uuid, p_ids uuid[], p_deliveries integer[], p_older_than_seconds double precision,
    p_recent_seconds double precision DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off AS $$
DECLARE
    v_forgotten uuid[];
BEGIN
    SELECT array_agg(w.message_id) INTO v_forgotten FROM dramatiq.queue w
    WHERE w.owner = p_owner AND w.state = 'consumed'
      AND w.mtime < now() - p_older_than_seconds * interval '1 second'
      AND w.mtime >= coalesce(
          now() - (p_older_than_seconds + p_recent_seconds) * interval '1 second', '-infinity')
      AND NOT EXISTS (SELECT FROM unnest(p_ids, p_deliveries) AS k (message_id, delivery)
                      WHERE k.message_id = w.message_id AND k.delivery = w.deliveries);
    RETURN CASE WHEN v_forgotten IS NULL THEN 0 ELSE worker.return_messages(p_owner, v_forgotten) END;
END $$;

-- Renew a process's lease and say whether there was none: then its messages, if any, are others' by now.
CREATE FUNCTION worker.renew_lease(
    p_process uuid, p_worker_id text, p_threads integer, p_lease_seconds double precision
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE worker.processes p SET lease_until = now() + p_lease_seconds * interval '1 second'
    WHERE p.id = p_process;
    IF FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO worker.processes (id, worker_id, threads, lease_until)
    VALUES (p_process, p_worker_id, p_threads, now() + p_lease_seconds * interval '1 second');
    RETURN true;
END $$;

-- Tie this session to a process: while it is open, the process is there, even if something keeps its Python
-- from renewing the lease. The lock goes with the session; a host that vanishes is noticed within 11 s.
CREATE FUNCTION worker.attend_process(p_process uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    SELECT set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
           set_config('tcp_keepalives_count', '3', false);
    SELECT pg_advisory_lock_shared(hashtext('worker.process'), hashtext(p_process::text));
$$;

CREATE FUNCTION worker.is_attended(p_process uuid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
          AND l.classid = hashtext('worker.process')::oid AND l.objid = hashtext(p_process::text)::oid)
$$;

-- Take the messages of processes whose lease ran out and, where all that is held is to be looked at, of unknown
-- ones, and queue them again. One that is silent but has its session open is given more time: it may be held up,
-- and is not dead.
CREATE FUNCTION worker.rescue_messages(
    p_patience_seconds double precision DEFAULT 0, p_everything boolean DEFAULT true
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_owner uuid;
    v_count integer := 0;
BEGIN
    FOR v_owner IN
        DELETE FROM worker.processes p
        WHERE p.id IN (
            SELECT d.id FROM worker.processes d
            WHERE d.lease_until < now()
              AND (d.lease_until < now() - p_patience_seconds * interval '1 second' OR NOT worker.is_attended(d.id))
            FOR UPDATE SKIP LOCKED)
        RETURNING p.id
    LOOP
        v_count := v_count + worker.return_messages(v_owner);
    END LOOP;
    IF NOT p_everything THEN
        RETURN v_count;
    END IF;
    FOR v_owner IN
        SELECT DISTINCT w.owner FROM dramatiq.queue w
        WHERE w.state = 'consumed' AND w.owner IS NOT NULL
          AND NOT EXISTS (SELECT FROM worker.processes p WHERE p.id = w.owner)
    LOOP
        v_count := v_count + worker.return_messages(v_owner);
    END LOOP;
    -- A stock consumer that was started by mistake leaves no owner; it gets its time, then it counts as gone.
    UPDATE dramatiq.queue w SET state = 'queued', mtime = now(), unique_key = NULL
    WHERE w.state = 'consumed' AND w.owner IS NULL AND w.mtime < now() - interval '15 minutes';
    RETURN v_count;
END $$;
