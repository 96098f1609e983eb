-- Claims: which message works on which job, and how each attempt ended.

-- One row per kind of work: what its tickets look like and how a job of it is claimed.
CREATE TABLE worker.kinds (
    kind text PRIMARY KEY,
    actor text NOT NULL UNIQUE,
    queue text NOT NULL,
    -- a query that claims a job and gives its row as jsonb, or null: the job $1 if it waits and nobody has its row
    -- locked, or where $1 is null the next one
    claim_next text NOT NULL,
    -- a query that tells whether the job $1 still waits to be claimed, whoever is at it just now; null where a
    -- ticket stands for no job in particular
    is_waiting text,
    -- a query that locks the job $1 and gives the same row while it is still to be done, else null
    reload text NOT NULL,
    -- the key of the job's id in that row
    id_key text NOT NULL,
    -- a query that counts the jobs that could be claimed now
    count_claimable text NOT NULL,
    -- a query that gives provider, model, key and owner of the call that the job $1 will make, if it makes one
    call text,
    -- a query that puts the failed job $1 back into its queue and gives true, or nothing where it can't be
    replay text
);

CREATE TABLE worker.claims (
    message_id uuid PRIMARY KEY,
    kind text NOT NULL REFERENCES worker.kinds,
    job uuid NOT NULL,
    worker_id text NOT NULL,
    -- counts every start; results are accepted from the newest only
    attempt integer NOT NULL DEFAULT 1,
    -- workers that died of this job; errors that it ended in
    deaths integer NOT NULL DEFAULT 0,
    errors integer NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'running' CHECK (state IN (
        'running',      -- an attempt is at work, or died at it
        'waiting',      -- a transient error: the message is due again later
        'handed_back',  -- put down in good order: the next attempt goes on, nothing is counted
        'finished'      -- see outcome
    )),
    -- when the ticket was written: with the job's own row, but for tickets of the sweep
    ticket_at timestamptz NOT NULL DEFAULT now(),
    first_claimed_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    outcome text CHECK (outcome IN (
        'succeeded',
        'failed',  -- a permanent error, or one too many transient ones
        'poison',  -- too many workers died of it
        'gone'     -- the job was deleted, cancelled or taken over meanwhile
    )),
    error_code text,
    error_message text,
    -- how every attempt but the last ended: {attempt, worker_id, from, to, ended: error | death | handed_back,
    -- error_code, error_message}
    history jsonb NOT NULL DEFAULT '[]',
    -- whether worker.kept_answers may have the job's answer, which then goes with the claim's end
    has_kept_answer boolean NOT NULL DEFAULT false,
    -- when a person replayed or discarded the dead letter; worker.audit_log tells who
    settled_at timestamptz,
    CHECK ((state = 'finished') = (finished_at IS NOT NULL)),
    CHECK ((state = 'finished') = (outcome IS NOT NULL))
) WITH (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.001, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);

-- Few claims are open, so that to the planner this index is as short a way to one of them as the primary key. It
-- is not: it keeps every claim that ended since the oldest view that somebody has of the database. Whoever has the
-- key therefore asks for `state <> 'finished'`, which says the same and fits no index.
CREATE UNIQUE INDEX claims_open_job ON worker.claims (kind, job) WHERE finished_at IS NULL;
CREATE INDEX claims_finished ON worker.claims (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX claims_job ON worker.claims (job);

-- Answers that were paid for and could not be written yet: the next attempt at the job only writes its answer.
-- Only what can be written to the job's row is here, never a key.
CREATE TABLE worker.kept_answers (
    kind text NOT NULL REFERENCES worker.kinds,
    job uuid NOT NULL,
    answer jsonb NOT NULL,
    -- the bytes of a medium
    content bytea,
    kept_at timestamptz NOT NULL DEFAULT now(),
    -- why the platform refused to take it, where it did
    refused_at timestamptz,
    refused_sqlstate text,
    refused_reason text,
    PRIMARY KEY (kind, job)
);
CREATE INDEX kept_answers_job ON worker.kept_answers (job);
COMMENT ON TABLE worker.kept_answers IS 'Answers of AI providers that are not in their job''s row yet; `lf-worker jobs end` writes one.';

-- Keep a job's answer, in the transaction that puts its claim down.
CREATE FUNCTION worker.keep_answer(
    p_kind text, p_job uuid, p_answer jsonb, p_content bytea, p_sqlstate text DEFAULT NULL, p_reason text DEFAULT NULL
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.kept_answers AS k (kind, job, answer, content, refused_at, refused_sqlstate, refused_reason)
    VALUES (p_kind, p_job, p_answer, p_content, CASE WHEN p_sqlstate IS NOT NULL THEN now() END, p_sqlstate,
            CASE WHEN p_sqlstate IS NOT NULL THEN p_reason END)
    ON CONFLICT (kind, job) DO UPDATE
    SET answer = excluded.answer, content = excluded.content,
        refused_at = coalesce(excluded.refused_at, k.refused_at),
        refused_sqlstate = coalesce(excluded.refused_sqlstate, k.refused_sqlstate),
        refused_reason = coalesce(excluded.refused_reason, k.refused_reason)
$$;

-- Keep no longer what is written now.
CREATE FUNCTION worker.forget_answer(p_message_id uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    DELETE FROM worker.kept_answers k USING worker.claims c
    WHERE c.message_id = p_message_id AND k.kind = c.kind AND k.job = c.job
$$;

-- One entry of a claim's history: how the attempt that it is at now ended.
CREATE FUNCTION worker.fn_ended_attempt(
    p_claim worker.claims, p_ended text, p_error_code text DEFAULT NULL, p_error_message text DEFAULT NULL
) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'attempt', p_claim.attempt, 'worker_id', p_claim.worker_id, 'from', p_claim.claimed_at, 'to', now(),
        'ended', p_ended, 'error_code', p_error_code, 'error_message', p_error_message))
$$;

-- The same for an attempt that nobody ended.
CREATE FUNCTION worker.fn_lost_attempt(p_claim worker.claims) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT worker.fn_ended_attempt(
        p_claim, 'death', 'worker.lost', 'its process died, or was silent for too long')
$$;

-- In how many milliseconds a ticket looks again whether its job's row is free: soon, and less often each time, up
-- to about five seconds, as some transactions are long.
CREATE FUNCTION worker.fn_look_again_ms(p_message_id uuid) RETURNS integer
LANGUAGE sql SET search_path = '' AS $$
    SELECT ((0.5 + random()) * least(5000, 25 * 2 ^ least(10, coalesce(
        (SELECT q.deliveries FROM dramatiq.queue q WHERE q.message_id = p_message_id), 1))))::integer
$$;

-- Open the claim of a message: go on with the job it had, or claim the next one of its kind.
-- outcome: claimed | resumed | poison (resumed once too often: fail it) | nothing | finished | gone
--          | wait (no call may be made for it yet: come back in wait_ms)
--          | taken (p_delivery, the one that is worked on, is not the message's newest: another process has it)
--          | locked (the hinted job waits, but somebody else is at its row: come back in wait_ms)
-- A job that must wait is not claimed, so that one that shows as running runs. `bound`: a passage was taken,
-- which is to be settled when the job is put down. `owner`: the call is under budgets, which are that owner's.
-- `answer`, `content`, `kept_seconds`: the job's kept answer and its age. Its job makes no call, so that no limit
-- and no count of deaths applies to it.
-- A ticket takes another job than the hinted one only where that waits no more: else a job whose row somebody had
-- locked for an instant would be left without a ticket.
CREATE FUNCTION worker.open_claim(
    p_message_id uuid, p_kind text, p_hint uuid, p_worker_id text, p_max_deaths integer,
    p_hold_seconds double precision DEFAULT 900, p_delivery integer DEFAULT NULL
) RETURNS TABLE (
    outcome text, job_id uuid, job jsonb, attempt integer, errors integer, deaths integer, wait_ms integer,
    bound boolean, owner text, answer jsonb, content bytea, kept_seconds double precision
)
LANGUAGE plpgsql SET search_path = worker, public AS $$
#variable_conflict use_column
DECLARE
    v_kind worker.kinds;
    v_claim worker.claims;
    v_kept worker.kept_answers;
    v_id uuid;
    v_is_locked boolean;
BEGIN
    attempt := 0;
    errors := 0;
    deaths := 0;
    wait_ms := 0;
    bound := false;
    -- The claim doesn't wait for the disk. A crash of the server may undo the newest ones together with their
    -- jobs' state; the attempt then finds no claim to finish, and the job is done again.
    PERFORM set_config('synchronous_commit', 'off', true);
    -- A process that was silent for too long has yet to learn that it was taken for dead.
    IF p_delivery IS NOT NULL AND NOT EXISTS (
        SELECT FROM dramatiq.queue q WHERE q.message_id = p_message_id AND q.deliveries = p_delivery
            AND q.state IS NOT DISTINCT FROM 'consumed') THEN
        outcome := 'taken';
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT * INTO STRICT v_kind FROM worker.kinds k WHERE k.kind = p_kind;
    SELECT * INTO v_claim FROM worker.claims c WHERE c.message_id = p_message_id FOR UPDATE;
    IF v_claim.message_id IS NULL THEN
        job_id := p_hint;
        SELECT * INTO v_kept FROM worker.kept_answers k WHERE k.kind = p_kind AND k.job = p_hint;
        IF v_kept.job IS NULL THEN
            SELECT p.wait_ms, p.bound, p.owner INTO wait_ms, bound, owner
            FROM worker.fn_pass(v_kind, p_hint, p_message_id, p_hold_seconds) AS p;
            IF wait_ms > 0 THEN
                outcome := 'wait';
                bound := false;
                owner := NULL;
                RETURN NEXT;
                RETURN;
            END IF;
        END IF;
        EXECUTE v_kind.claim_next INTO job USING p_hint;
        IF job IS NULL AND p_hint IS NOT NULL AND v_kind.is_waiting IS NOT NULL THEN
            EXECUTE v_kind.is_waiting INTO v_is_locked USING p_hint;
            IF NOT v_is_locked THEN
                EXECUTE v_kind.claim_next INTO job USING NULL::uuid;
            END IF;
        END IF;
        v_id := (job ->> v_kind.id_key)::uuid;
        IF bound AND v_id IS DISTINCT FROM p_hint THEN
            PERFORM worker.settle_passage(p_message_id, 0);
        END IF;
        IF v_id IS NULL THEN
            outcome := CASE WHEN v_is_locked THEN 'locked' ELSE 'nothing' END;
            wait_ms := CASE WHEN v_is_locked THEN worker.fn_look_again_ms(p_message_id) ELSE 0 END;
            bound := false;
            owner := NULL;
            RETURN NEXT;
            RETURN;
        END IF;
        job_id := v_id;
        IF v_id IS DISTINCT FROM p_hint THEN
            SELECT * INTO v_kept FROM worker.kept_answers k WHERE k.kind = p_kind AND k.job = v_id;
            bound := false;
            owner := NULL;
            IF v_kept.job IS NULL THEN
                SELECT p.wait_ms, p.bound, p.owner INTO wait_ms, bound, owner
                FROM worker.fn_pass(v_kind, v_id, p_message_id, p_hold_seconds) AS p;
            END IF;
        END IF;
        -- Somebody queued the job again behind an open claim: that one's results are not wanted any more.
        UPDATE worker.claims c SET state = 'finished', finished_at = now(), outcome = 'gone'
        WHERE c.kind = p_kind AND c.job = v_id AND c.finished_at IS NULL;
        INSERT INTO worker.claims (message_id, kind, job, worker_id, state, has_kept_answer, ticket_at)
        VALUES (p_message_id, p_kind, v_id, p_worker_id,
            CASE WHEN wait_ms > 0 THEN 'handed_back' ELSE 'running' END, v_kept.job IS NOT NULL, coalesce((
            SELECT to_timestamp((q.message ->> 'message_timestamp')::double precision / 1000)
            FROM dramatiq.queue q WHERE q.message_id = p_message_id), now()));
        outcome := CASE WHEN wait_ms > 0 THEN 'wait' ELSE 'claimed' END;
        attempt := 1;
        answer := v_kept.answer;
        content := v_kept.content;
        kept_seconds := extract(epoch FROM now() - v_kept.kept_at);
        RETURN NEXT;
        RETURN;
    END IF;
    job_id := v_claim.job;
    attempt := v_claim.attempt;
    errors := v_claim.errors;
    deaths := v_claim.deaths;
    IF v_claim.finished_at IS NOT NULL THEN
        outcome := 'finished';
        RETURN NEXT;
        RETURN;
    END IF;
    EXECUTE v_kind.reload INTO job USING v_claim.job;
    IF job IS NULL THEN
        PERFORM worker.finish_claim(p_message_id, v_claim.attempt, 'gone');
        outcome := 'gone';
        RETURN NEXT;
        RETURN;
    END IF;
    IF v_claim.has_kept_answer THEN
        SELECT * INTO v_kept FROM worker.kept_answers k WHERE k.kind = p_kind AND k.job = v_claim.job;
    END IF;
    IF v_kept.job IS NULL THEN
        SELECT p.wait_ms, p.bound, p.owner INTO wait_ms, bound, owner
        FROM worker.fn_pass(v_kind, v_claim.job, p_message_id, p_hold_seconds) AS p;
    END IF;
    IF wait_ms > 0 THEN
        IF v_claim.state = 'running' THEN
            UPDATE worker.claims c
            SET deaths = c.deaths + 1, history = c.history || worker.fn_lost_attempt(c),
                attempt = c.attempt + 1, state = 'handed_back', claimed_at = now()
            WHERE c.message_id = p_message_id;
        END IF;
        outcome := 'wait';
        job := NULL;
        bound := false;
        owner := NULL;
        RETURN NEXT;
        RETURN;
    END IF;
    UPDATE worker.claims c
    SET attempt = c.attempt + 1, deaths = c.deaths + (c.state = 'running')::integer,
        history = CASE WHEN c.state = 'running' THEN c.history || worker.fn_lost_attempt(c)
                       ELSE c.history END,
        state = 'running', worker_id = p_worker_id, claimed_at = now()
    WHERE c.message_id = p_message_id
    RETURNING c.attempt, c.errors, c.deaths INTO attempt, errors, deaths;
    outcome := CASE WHEN deaths >= p_max_deaths AND v_kept.job IS NULL THEN 'poison' ELSE 'resumed' END;
    answer := v_kept.answer;
    content := v_kept.content;
    kept_seconds := extract(epoch FROM now() - v_kept.kept_at);
    RETURN NEXT;
END $$;

-- End a claim for good and say whether the caller may write the job's results:
-- ours (yes) | stale (a newer attempt owns the job) | gone (the job was deleted or cancelled meanwhile)
-- | ended (this attempt has ended so already: the answer to its commit was lost, if p_again says that it tried)
-- Calls to providers are written down whatever the verdict: they were paid for. With p_answer the job's answer is
-- kept, since it isn't written now, and p_sqlstate says that the platform refused it; without, a kept one goes.
-- p_alone ends the claim although its row is past reach.
CREATE FUNCTION worker.finish_claim(
    p_message_id uuid, p_attempt integer, p_outcome text,
    p_error_code text DEFAULT NULL, p_error_message text DEFAULT NULL, p_calls jsonb DEFAULT NULL,
    p_again boolean DEFAULT false, p_answer jsonb DEFAULT NULL, p_content bytea DEFAULT NULL,
    p_sqlstate text DEFAULT NULL, p_alone boolean DEFAULT false
) RETURNS text
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_claim worker.claims;
    v_job jsonb;
BEGIN
    UPDATE worker.claims c
    SET state = 'finished', finished_at = now(), outcome = p_outcome,
        error_code = p_error_code, error_message = p_error_message,
        errors = c.errors + (p_outcome = 'failed')::integer
    WHERE c.message_id = p_message_id AND c.attempt = p_attempt AND c.state <> 'finished'
    RETURNING * INTO v_claim;
    IF v_claim.message_id IS NULL AND p_again AND EXISTS (
        SELECT FROM worker.claims c
        WHERE c.message_id = p_message_id AND c.attempt = p_attempt AND c.outcome = p_outcome) THEN
        RETURN 'ended';
    END IF;
    IF p_calls IS NOT NULL THEN
        PERFORM worker.note_calls(p_message_id, p_calls);
    END IF;
    IF v_claim.message_id IS NULL THEN
        -- What a lens run that was cancelled has cost is known only now.
        PERFORM worker.note_run_cost(c.job) FROM worker.claims c
        WHERE c.message_id = p_message_id AND c.kind = 'lens_run' AND c.outcome = 'gone';
        RETURN 'stale';
    END IF;
    IF p_outcome <> 'gone' AND NOT p_alone THEN
        EXECUTE (SELECT k.reload FROM worker.kinds k WHERE k.kind = v_claim.kind) INTO v_job USING v_claim.job;
        IF v_job IS NULL THEN
            UPDATE worker.claims c SET outcome = 'gone', error_code = NULL, error_message = NULL
            WHERE c.message_id = p_message_id;
            p_answer := NULL;
        END IF;
    END IF;
    IF p_answer IS NOT NULL THEN
        PERFORM worker.keep_answer(v_claim.kind, v_claim.job, p_answer, p_content, p_sqlstate, p_error_message);
    ELSIF v_claim.has_kept_answer THEN
        DELETE FROM worker.kept_answers k WHERE k.kind = v_claim.kind AND k.job = v_claim.job;
    END IF;
    RETURN CASE WHEN p_outcome <> 'gone' AND NOT p_alone AND v_job IS NULL THEN 'gone' ELSE 'ours' END;
END $$;

-- Put a claim down until its message comes again. An error that is named is counted, unless it only says why the
-- job has to wait. The calls of an attempt that was cut short, because it was no longer wanted, say nothing of the
-- provider. p_fence uses up the attempt's number, so that it is stale at once and not only when the job is taken up
-- again. p_answer is kept for the next attempt. p_again says that the answer to an earlier try was lost, so that a
-- claim which is down already stays as it is.
CREATE FUNCTION worker.release_claim(
    p_message_id uuid, p_attempt integer, p_error_code text DEFAULT NULL, p_error_message text DEFAULT NULL,
    p_calls jsonb DEFAULT NULL, p_fence boolean DEFAULT false, p_counts boolean DEFAULT true,
    p_again boolean DEFAULT false, p_answer jsonb DEFAULT NULL, p_content bytea DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_failed boolean := p_counts AND p_error_code IS NOT NULL;
    v_claim worker.claims;
BEGIN
    IF p_again AND EXISTS (
        SELECT FROM worker.claims c
        WHERE c.message_id = p_message_id AND c.attempt = p_attempt + p_fence::integer
          AND c.state IN ('waiting', 'handed_back')) THEN
        RETURN true;
    END IF;
    UPDATE worker.claims c
    SET state = CASE WHEN v_failed THEN 'waiting' ELSE 'handed_back' END,
        attempt = c.attempt + p_fence::integer,
        errors = c.errors + v_failed::integer,
        history = c.history || worker.fn_ended_attempt(
            c, CASE WHEN v_failed THEN 'error' ELSE 'handed_back' END, p_error_code, p_error_message),
        error_code = CASE WHEN v_failed THEN p_error_code ELSE c.error_code END,
        error_message = CASE WHEN v_failed THEN p_error_message ELSE c.error_message END,
        has_kept_answer = c.has_kept_answer OR p_answer IS NOT NULL
    WHERE c.message_id = p_message_id AND c.attempt = p_attempt AND c.state <> 'finished'
    RETURNING * INTO v_claim;
    IF v_claim.message_id IS NULL THEN
        RETURN false;
    END IF;
    IF p_calls IS NOT NULL THEN
        PERFORM worker.note_calls(p_message_id, p_calls);
    END IF;
    IF p_answer IS NOT NULL THEN
        PERFORM worker.keep_answer(v_claim.kind, v_claim.job, p_answer, p_content);
    ELSIF v_claim.has_kept_answer THEN
        DELETE FROM worker.kept_answers k WHERE k.kind = v_claim.kind AND k.job = v_claim.job;
    END IF;
    RETURN true;
END $$;

-- No NaN and no infinity, which Postgres takes for more than 0 too.
CREATE DOMAIN worker.positive AS double precision CHECK (VALUE > 0 AND VALUE < 'Infinity');

-- How much more of everything an owner gets than others; 1 without a row.
CREATE TABLE worker.owner_weights (
    owner text PRIMARY KEY,
    weight worker.positive NOT NULL
);

CREATE FUNCTION worker.fn_owner_weight(p_owner text) RETURNS double precision
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce((SELECT w.weight FROM worker.owner_weights w WHERE w.owner = p_owner), 1)
$$;

-- Up to where each owner's tickets of a queue reach. The newest turn is found from the top of the index, since each
-- one before it stays there for as long as somebody keeps an old view of the database.
CREATE TABLE worker.owner_turns (
    queue text NOT NULL,
    owner text NOT NULL,
    last_turn timestamptz NOT NULL,
    PRIMARY KEY (queue, owner, last_turn)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- How far apart the tickets of one owner stand.
CREATE FUNCTION worker.fn_turn_step(p_owner text) RETURNS interval
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT interval '10 microseconds' / worker.fn_owner_weight(p_owner)
$$;

CREATE FUNCTION worker.fn_last_turn(p_queue text, p_owner text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN (SELECT t.last_turn FROM worker.owner_turns t WHERE t.queue = p_queue AND t.owner = p_owner
            ORDER BY t.last_turn DESC LIMIT 1);
END $$;

-- The first turn of p_count new tickets of an owner: behind its own, but not behind all that others queued.
-- Turns are times shortly before now, in the order of which messages are taken (start-time fair queueing).
CREATE FUNCTION worker.fn_next_turn(p_queue text, p_owner text, p_count integer) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_step interval := worker.fn_turn_step(p_owner);
    v_turn timestamptz := worker.fn_first_turn(p_queue);
    v_last timestamptz;
BEGIN
    IF v_turn <= now() THEN
        v_last := worker.fn_last_turn(p_queue, p_owner);
        v_turn := greatest(v_turn, v_step + v_last);
    ELSE
        v_turn := now() - interval '1 second';
        IF p_count = 1 THEN
            RETURN v_turn;  -- nobody waits: one ticket needs no account, and a row written each time would bloat
        END IF;
    END IF;
    -- The platform's transaction may be long: whoever finds an owner's turns taken doesn't wait for them.
    IF pg_try_advisory_xact_lock(hashtext('worker.owner_turns'), hashtext(p_queue || p_owner)) THEN
        v_last := worker.fn_last_turn(p_queue, p_owner);
        UPDATE worker.owner_turns t SET last_turn = v_turn + (p_count - 1) * v_step
        WHERE t.queue = p_queue AND t.owner = p_owner AND t.last_turn = v_last;
        IF NOT FOUND THEN
            INSERT INTO worker.owner_turns (queue, owner, last_turn)
            VALUES (p_queue, p_owner, v_turn + (p_count - 1) * v_step);
        END IF;
    END IF;
    RETURN v_turn;
END $$;

-- Write a ticket for each of p_jobs. Called by triggers inside the platform's own transaction. A ticket
-- names the job it was written for as a hint; null is a ticket for whatever job is next. Where p_owners tells
-- whose the jobs are, one owner's many don't keep those of others waiting.
CREATE FUNCTION worker.write_tickets(p_kind text, p_jobs uuid[], p_owners text[] DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_kind worker.kinds;
BEGIN
    IF coalesce(cardinality(p_jobs), 0) = 0 THEN
        RETURN 0;
    END IF;
    SELECT * INTO STRICT v_kind FROM worker.kinds k WHERE k.kind = p_kind;
    INSERT INTO dramatiq.queue (message_id, queue_name, mtime, message)
    -- Who spreads much work over time sets the delay for its own transaction.
    SELECT t.id, v_kind.queue,
           greatest((SELECT worker.fn_floor(v_kind.queue)), least(now(), o.first_turn + (t.place - 1) * o.step))
               + coalesce(nullif(current_setting('worker.ticket_delay_ms', true), ''), '0')::bigint
               * interval '1 millisecond',
           worker.message(t.id, v_kind.actor, v_kind.queue, t.kwargs)
    FROM (SELECT gen_random_uuid() AS id, j.owner, row_number() OVER (PARTITION BY j.owner ORDER BY j.n) AS place,
                 jsonb_strip_nulls(jsonb_build_object('job', j.job)) AS kwargs
          FROM unnest(p_jobs, p_owners) WITH ORDINALITY AS j (job, owner, n)) AS t
    LEFT JOIN (
        SELECT c.owner, worker.fn_turn_step(c.owner) AS step,
               worker.fn_next_turn(v_kind.queue, c.owner, c.jobs) AS first_turn
        FROM (SELECT owner, count(*)::integer AS jobs FROM unnest(p_owners) AS owner
              WHERE owner IS NOT NULL GROUP BY owner) AS c) AS o USING (owner);
    PERFORM pg_notify('dramatiq.' || v_kind.queue || '.enqueue', '');
    RETURN cardinality(p_jobs);
END $$;

-- Add the tickets that are missing: for claimable jobs without one, and for open claims whose message is
-- lost. Harmless when run twice at once: the second finds the lock taken and adds nothing.
CREATE FUNCTION worker.add_missing_tickets(p_kind text, p_limit bigint DEFAULT 10000) RETURNS integer
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_kind worker.kinds;
    v_claimable bigint;
    v_waiting bigint;
    v_lost integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('worker.add_missing_tickets'), hashtext(p_kind)) THEN
        RETURN 0;
    END IF;
    SELECT * INTO STRICT v_kind FROM worker.kinds k WHERE k.kind = p_kind;

    INSERT INTO dramatiq.queue (message_id, queue_name, message)
    SELECT c.message_id, v_kind.queue, worker.message(c.message_id, v_kind.actor, v_kind.queue)
    FROM worker.claims c
    WHERE c.kind = p_kind AND c.finished_at IS NULL
      AND NOT EXISTS (SELECT FROM dramatiq.queue q
                      WHERE q.message_id = c.message_id AND q.state IN ('queued', 'consumed'))
    ON CONFLICT (message_id) DO UPDATE SET state = 'queued', mtime = now(), owner = NULL;
    GET DIAGNOSTICS v_lost = ROW_COUNT;

    -- One statement, so that jobs and tickets are counted in the same snapshot.
    EXECUTE format(
        'SELECT (%s), (SELECT count(*) FROM dramatiq.queue q
             WHERE q.queue_name = $1 AND q.state IN (''queued'', ''consumed'')
               AND q.message ->> ''actor_name'' = $2
               AND NOT EXISTS (SELECT FROM worker.claims c WHERE c.message_id = q.message_id))',
        v_kind.count_claimable)
    INTO v_claimable, v_waiting USING v_kind.queue, v_kind.actor;
    RETURN v_lost + worker.write_tickets(
        p_kind, array_fill(NULL::uuid, ARRAY[greatest(0, least(v_claimable - v_waiting, p_limit))::integer]));
END $$;
