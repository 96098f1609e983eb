-- Retention: what has ended is deleted after a while, a small batch a statement, so that no sweep holds
-- many rows locked or leaves much work to autovacuum at once.

-- Delete one batch of everything that ended longer ago than that, and say how many rows went and up to where. A
-- next batch that begins there needn't walk over what this one deleted.
CREATE FUNCTION worker.prune(
    p_older_than interval, p_batch integer DEFAULT 1000, p_from timestamptz[] DEFAULT NULL,
    OUT deleted integer, OUT reached timestamptz[]
)
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_part record;
    v_rows integer;
    v_last timestamptz;
BEGIN
    deleted := 0;
    reached := coalesce(p_from, array_fill('-infinity'::timestamptz, ARRAY[4]));
    FOR v_part IN
        SELECT * FROM (VALUES
            (1, 'worker.claims', 'finished_at', 'true'),
            (2, 'dramatiq.queue', 'mtime', $is$ state IN ('rejected', 'done') $is$),
            (3, 'worker.provider_calls', 'ended_at', 'true'),
            -- A kept answer goes with the last claim of its job.
            (4, 'worker.kept_answers', 'kept_at',
             $is$ NOT EXISTS (SELECT FROM worker.claims c WHERE c.kind = o.kind AND c.job = o.job) $is$)
        ) AS p (place, name, ended_at, has_ended)
    LOOP
        EXECUTE format(
            'WITH gone AS (
                DELETE FROM %1$s t WHERE t.ctid = ANY (ARRAY(
                    SELECT o.ctid FROM %1$s o WHERE %3$s AND o.%2$I >= $1 AND o.%2$I < now() - $2
                    ORDER BY o.%2$I LIMIT $3 FOR UPDATE SKIP LOCKED))
                RETURNING t.%2$I AS ended_at)
             SELECT count(*), max(g.ended_at) FROM gone g', v_part.name, v_part.ended_at, v_part.has_ended)
        INTO v_rows, v_last USING reached[v_part.place], p_older_than, p_batch;
        deleted := deleted + v_rows;
        reached[v_part.place] := greatest(reached[v_part.place], v_last);
    END LOOP;
END $$;

REVOKE EXECUTE ON FUNCTION worker.prune(interval, integer, timestamptz[]) FROM PUBLIC;

-- What waits, runs and has failed in each queue, for people.
CREATE VIEW worker.queues AS
    SELECT q.queue_name,
           count(*) FILTER (WHERE q.state = 'queued' AND q.mtime <= now()) AS waiting,
           count(*) FILTER (WHERE q.state = 'queued' AND q.mtime > now()) AS delayed,
           count(*) FILTER (WHERE q.state = 'consumed') AS in_flight,
           count(*) FILTER (WHERE q.state = 'rejected') AS rejected,
           extract(epoch FROM now() - min(q.mtime) FILTER (WHERE q.state = 'queued' AND q.mtime <= now()))
               AS oldest_waiting_seconds,
           coalesce(bool_or(c.paused), false) AS paused,
           max(c.max_in_flight) AS max_in_flight
    FROM (SELECT queue_name, state, mtime FROM dramatiq.queue
          UNION ALL SELECT k.queue, NULL, NULL FROM worker.kinds k
          UNION ALL SELECT queue_name, NULL, NULL FROM worker.queue_controls) AS q
    LEFT JOIN worker.queue_controls c ON c.queue_name = q.queue_name
    GROUP BY q.queue_name;
COMMENT ON VIEW worker.queues IS 'Every queue with its messages by state, and whether it is paused or capped.';
REVOKE ALL ON worker.queues FROM PUBLIC;

-- Our triggers on the platform's tables, as they were when last migrated: a restore of the platform, or a
-- person, may drop them, and `lf-worker migrate` then puts them back.
CREATE TABLE worker.triggers (
    relation text NOT NULL,
    name text NOT NULL,
    definition text NOT NULL,
    PRIMARY KEY (relation, name)
);
REVOKE ALL ON worker.triggers FROM PUBLIC;

CREATE FUNCTION worker.record_triggers() RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.triggers (relation, name, definition)
    SELECT t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid)
    FROM pg_trigger t
    JOIN pg_proc p ON p.oid = t.tgfoid AND p.pronamespace = 'worker'::regnamespace
    JOIN pg_class c ON c.oid = t.tgrelid
    WHERE NOT t.tgisinternal
      AND c.relnamespace NOT IN ('worker'::regnamespace, 'dramatiq'::regnamespace)
    ON CONFLICT (relation, name) DO UPDATE SET definition = excluded.definition
$$;

-- Those of our triggers that are missing or switched off.
CREATE FUNCTION worker.lost_triggers() RETURNS TABLE (relation text, name text, is_there boolean, definition text)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT w.relation, w.name, t.oid IS NOT NULL, w.definition
    FROM worker.triggers w
    LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(w.relation) AND t.tgname = w.name
    WHERE to_regclass(w.relation) IS NOT NULL AND coalesce(t.tgenabled, 'D') NOT IN ('O', 'A')
$$;

CREATE FUNCTION worker.restore_triggers() RETURNS SETOF text
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_lost record;
BEGIN
    FOR v_lost IN SELECT * FROM worker.lost_triggers() LOOP
        EXECUTE CASE WHEN v_lost.is_there
            THEN format('ALTER TABLE %s ENABLE TRIGGER %I', v_lost.relation, v_lost.name)
            ELSE v_lost.definition END;
        RETURN NEXT v_lost.name || ' on ' || v_lost.relation;
    END LOOP;
END $$;

REVOKE EXECUTE ON FUNCTION worker.record_triggers(), worker.lost_triggers(), worker.restore_triggers()
    FROM PUBLIC;

-- Each kind of work now and over the last hour, for people and dashboards. Times are in milliseconds: pickup
-- from the ticket to the first claim, duration of the last attempt.
CREATE FUNCTION worker.kind_status() RETURNS TABLE (
    kind text, queued bigint, in_flight bigint, retrying bigint, stuck bigint,
    done_last_hour bigint, failed_last_hour bigint, dead_letters bigint,
    pickup_p50_ms double precision, pickup_p99_ms double precision,
    duration_p50_ms double precision, duration_p99_ms double precision
)
LANGUAGE plpgsql SET search_path = worker, public AS $$
#variable_conflict use_column
DECLARE
    v_kind worker.kinds;
    v_queued bigint;
BEGIN
    FOR v_kind IN SELECT * FROM worker.kinds k ORDER BY k.kind LOOP
        EXECUTE v_kind.count_claimable INTO v_queued;
        RETURN QUERY
        SELECT v_kind.kind, v_queued,
               count(*) FILTER (WHERE c.state = 'running'),
               count(*) FILTER (WHERE c.state IN ('waiting', 'handed_back')),
               -- nobody holds its message, and no retry is due later
               count(*) FILTER (WHERE c.state <> 'finished' AND NOT EXISTS (
                   SELECT FROM dramatiq.queue q LEFT JOIN worker.processes p ON p.id = q.owner
                   WHERE q.message_id = c.message_id
                     AND (q.state = 'queued' OR (q.state = 'consumed' AND p.lease_until > now())))),
               count(*) FILTER (WHERE c.outcome = 'succeeded' AND c.finished_at > now() - interval '1 hour'),
               count(*) FILTER (WHERE c.outcome IN ('failed', 'poison')
                                  AND c.finished_at > now() - interval '1 hour'),
               count(*) FILTER (WHERE c.outcome IN ('failed', 'poison') AND c.settled_at IS NULL),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM c.first_claimed_at - c.ticket_at) * 1000)
                   FILTER (WHERE c.first_claimed_at > now() - interval '1 hour'),
               percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM c.first_claimed_at - c.ticket_at) * 1000)
                   FILTER (WHERE c.first_claimed_at > now() - interval '1 hour'),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM c.finished_at - c.claimed_at) * 1000)
                   FILTER (WHERE c.finished_at > now() - interval '1 hour'),
               percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM c.finished_at - c.claimed_at) * 1000)
                   FILTER (WHERE c.finished_at > now() - interval '1 hour')
        FROM worker.claims c WHERE c.kind = v_kind.kind;
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION worker.kind_status() FROM PUBLIC;

-- What people did to jobs by hand.
CREATE TABLE worker.audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    operator text NOT NULL,
    action text NOT NULL CHECK (action IN ('replay', 'discard', 'cancel', 'end')),
    kind text NOT NULL,
    job uuid NOT NULL,
    error_code text,
    note text
);
REVOKE ALL ON worker.audit_log FROM PUBLIC;

-- Put the job of a dead letter back into its queue, to be taken up after a delay, with all its attempts
-- before it. False when it is no dead letter any more, or its row is not in a state to be replayed.
CREATE FUNCTION worker.replay_dead_letter(p_message_id uuid, p_delay_ms bigint, p_operator text, p_note text)
RETURNS boolean
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_claim worker.claims;
    v_replay text;
    v_done boolean;
BEGIN
    SELECT * INTO v_claim FROM worker.claims c
    WHERE c.message_id = p_message_id AND c.outcome IN ('failed', 'poison') AND c.settled_at IS NULL
    FOR UPDATE;
    SELECT k.replay INTO v_replay FROM worker.kinds k WHERE k.kind = v_claim.kind;
    IF v_claim.message_id IS NULL OR v_replay IS NULL THEN
        RETURN false;
    END IF;
    PERFORM set_config('worker.ticket_delay_ms', p_delay_ms::text, true);
    EXECUTE v_replay INTO v_done USING v_claim.job;
    PERFORM set_config('worker.ticket_delay_ms', '', true);
    IF NOT coalesce(v_done, false) THEN
        RETURN false;
    END IF;
    PERFORM worker.fn_settle_dead_letter(v_claim, 'replay', p_operator, p_note);
    RETURN true;
END $$;

-- Take a dead letter off the list; its job stays failed.
CREATE FUNCTION worker.discard_dead_letter(p_message_id uuid, p_operator text, p_note text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_claim worker.claims;
BEGIN
    SELECT * INTO v_claim FROM worker.claims c
    WHERE c.message_id = p_message_id AND c.outcome IN ('failed', 'poison') AND c.settled_at IS NULL
    FOR UPDATE;
    IF v_claim.message_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM worker.fn_settle_dead_letter(v_claim, 'discard', p_operator, p_note);
    RETURN true;
END $$;

-- The kept answers that a job's id leads to: its own, or that of its medium.
CREATE FUNCTION worker.fn_kept_answers_of(p_job uuid) RETURNS SETOF worker.kept_answers
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT k.* FROM worker.kept_answers k WHERE k.job = p_job
    UNION ALL
    SELECT k.* FROM worker.media_tasks t JOIN worker.kept_answers k ON k.kind = 'media_poll' AND k.job = t.id
    WHERE t.job = p_job
$$;

-- Have a job's kept answer written: its next attempt finds it and asks nobody. An open claim is taken up at once; a
-- failed job goes back into its queue, or its claim is opened again where the row still runs. One row for each
-- answer, with the reason where that can't be done.
CREATE FUNCTION worker.end_job(p_job uuid, p_operator text, p_note text)
RETURNS TABLE (kind text, job uuid, since timestamptz, refusal text)
LANGUAGE plpgsql SET search_path = worker, public AS $$
#variable_conflict use_column
DECLARE
    v_kept worker.kept_answers;
    v_kind worker.kinds;
    v_claim worker.claims;
    v_row jsonb;
    v_done boolean;
BEGIN
    FOR v_kept IN SELECT * FROM worker.fn_kept_answers_of(p_job) LOOP
        kind := v_kept.kind;
        job := v_kept.job;
        since := clock_timestamp();
        refusal := NULL;
        SELECT * INTO STRICT v_kind FROM worker.kinds k WHERE k.kind = v_kept.kind;
        SELECT * INTO v_claim FROM worker.claims c WHERE c.kind = v_kept.kind AND c.job = v_kept.job
        ORDER BY c.finished_at DESC NULLS FIRST LIMIT 1 FOR UPDATE;
        IF v_claim.finished_at IS NOT NULL THEN
            v_done := false;
            IF v_kind.replay IS NOT NULL THEN
                EXECUTE v_kind.replay INTO v_done USING v_kept.job;
            END IF;
            IF v_done IS TRUE THEN
                PERFORM worker.fn_settle_dead_letter(v_claim, 'end', p_operator, p_note);
                RETURN NEXT;
                CONTINUE;
            END IF;
            EXECUTE v_kind.reload INTO v_row USING v_kept.job;
            IF v_row IS NULL THEN
                refusal := 'its row neither runs nor can be put back into the queue';
                RETURN NEXT;
                CONTINUE;
            END IF;
            UPDATE worker.claims c
            SET state = 'handed_back', finished_at = NULL, outcome = NULL, has_kept_answer = true,
                history = c.history || worker.fn_ended_attempt(c, 'error', c.error_code, c.error_message)
            WHERE c.message_id = v_claim.message_id;
        END IF;
        INSERT INTO worker.audit_log (operator, action, kind, job, error_code, note)
        VALUES (p_operator, 'end', v_kept.kind, v_kept.job, v_claim.error_code, p_note);
        INSERT INTO dramatiq.queue (message_id, queue_name, message)
        VALUES (v_claim.message_id, v_kind.queue, worker.message(v_claim.message_id, v_kind.actor, v_kind.queue))
        ON CONFLICT (message_id) DO UPDATE SET state = 'queued', mtime = now(), owner = NULL
        WHERE dramatiq.queue.state IS DISTINCT FROM 'consumed';
        PERFORM pg_notify('dramatiq.' || v_kind.queue || '.enqueue', '');
        RETURN NEXT;
    END LOOP;
END $$;

CREATE FUNCTION worker.fn_settle_dead_letter(
    p_claim worker.claims, p_action text, p_operator text, p_note text
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE worker.claims c SET settled_at = now() WHERE c.message_id = p_claim.message_id;
    INSERT INTO worker.audit_log (operator, action, kind, job, error_code, note)
    VALUES (p_operator, p_action, p_claim.kind, p_claim.job, p_claim.error_code, p_note);
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
