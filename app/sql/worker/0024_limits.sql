-- What all processes together may send to providers: limits, pauses and breakers, asked before a job is claimed.

-- Limits that somebody set. Those of a model come on top of those of its provider; each key has its own.
CREATE TABLE worker.provider_limits (
    provider text NOT NULL,
    -- '*': all models of the provider together
    model text NOT NULL DEFAULT '*',
    requests_per_minute double precision CHECK (requests_per_minute > 0),
    tokens_per_minute double precision CHECK (tokens_per_minute > 0),
    concurrency integer CHECK (concurrency > 0),
    source text NOT NULL DEFAULT 'operator' CHECK (source IN (
        'settings',  -- WORKER_PROVIDER_LIMITS, written by each process that starts
        'operator'   -- a person; settings leave these alone
    )),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, model)
);

-- What is left of a limit, for one key; 'platform' is the platform's own. The newest takes may be lost when
-- the server crashes.
CREATE TABLE worker.buckets (
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    -- what may be sent now, filled up as time passes; tokens below zero are a debt
    requests double precision NOT NULL DEFAULT 1,
    tokens double precision NOT NULL DEFAULT 0,
    filled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- the tag of whoever passed last
    tag double precision NOT NULL DEFAULT 0,
    -- what one call may take, the most of late, and what one takes on average; null before the first
    most_tokens double precision,
    mean_tokens double precision,
    seconds_per_call double precision NOT NULL DEFAULT 2,
    -- what the provider's answers say of this key's limits
    learnt_requests_per_minute double precision,
    learnt_tokens_per_minute double precision,
    PRIMARY KEY (provider, model, key)
) WITH (fillfactor = 50);

-- Calls that were let go, until they are over; the ticket is the message or the node that calls.
CREATE TABLE worker.passages (
    ticket uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    tokens double precision NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- a worker that died gives nothing back
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (ticket, provider, model, key)
);
CREATE INDEX passages_bucket ON worker.passages (provider, model, key);

-- Who waits for a bucket, in the order of tags: an owner's tickets are a step of 1 / weight apart, behind its
-- own but not behind all that others queued (start-time fair queueing). Whoever passes calls the next one.
CREATE TABLE worker.waiters (
    ticket uuid PRIMARY KEY,
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    owner text NOT NULL,
    tag double precision NOT NULL,
    -- a waiting message can be called; a workflow's node looks by itself
    is_message boolean NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- when it was last called to come; one that doesn't is passed over
    called_at timestamptz
);
CREATE INDEX waiters_line ON worker.waiters (provider, model, key, tag);

-- The tag of each owner's last ticket in a line.
CREATE TABLE worker.lines (
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    owner text NOT NULL,
    last_tag double precision NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, model, key, owner)
);

-- Times that providers asked to be left alone for, of one key.
CREATE TABLE worker.provider_pauses (
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (provider, model, key)
);

-- A provider's model that fails too often is not asked for a while; then one call tries whether it is back.
CREATE TABLE worker.breakers (
    provider text NOT NULL,
    model text NOT NULL,
    state text NOT NULL DEFAULT 'closed' CHECK (state IN (
        'closed',    -- all may call
        'open',      -- nobody may before retry_at
        'half_open'  -- one call is trying; another one may from retry_at, if that one is never heard of again
    )),
    -- in a row
    openings integer NOT NULL DEFAULT 0,
    opened_at timestamptz,
    retry_at timestamptz,
    error_code text,
    PRIMARY KEY (provider, model)
);

-- Calls and those that failed by the provider's fault, in slots of five seconds.
CREATE TABLE worker.call_counts (
    provider text NOT NULL,
    model text NOT NULL,
    slot timestamptz NOT NULL,
    calls integer NOT NULL,
    failures integer NOT NULL,
    PRIMARY KEY (provider, model, slot)
);

-- The one name of a provider that has several.
CREATE FUNCTION worker.fn_provider_name(p_provider text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT CASE n WHEN 'fal-ai' THEN 'fal' WHEN 'gemini' THEN 'google' WHEN 'veo' THEN 'google'
                  WHEN 'lyria' THEN 'google' WHEN 'sora' THEN 'openai' ELSE n END
    FROM (SELECT lower(trim(p_provider)) AS n) AS named
$$;

-- Whether anything at all could keep a call from being made; it is asked before every claim, so it is in
-- plpgsql, which keeps its plan for the session.
CREATE FUNCTION worker.fn_calls_are_bound() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN EXISTS (SELECT FROM worker.provider_limits)
        OR EXISTS (SELECT FROM worker.breakers b WHERE b.state <> 'closed')
        OR EXISTS (SELECT FROM worker.provider_pauses p WHERE p.until > now())
        OR EXISTS (SELECT FROM worker.buckets b WHERE b.learnt_requests_per_minute IS NOT NULL
                                                   OR b.learnt_tokens_per_minute IS NOT NULL);
END $$;

-- Milliseconds for which a breaker or a pause forbids a call, spread a little; 0 when none does. The call
-- that finds a breaker's time up is the one that tries; the others look again soon.
CREATE FUNCTION worker.fn_forbidden_ms(p_provider text, p_model text, p_key text) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_until timestamptz;
    v_breaker worker.breakers;
BEGIN
    SELECT max(p.until) INTO v_until FROM worker.provider_pauses p
    WHERE p.provider = p_provider AND p.model IN ('*', p_model) AND p.key = p_key AND p.until > clock_timestamp();
    IF v_until IS NULL THEN
        SELECT * INTO v_breaker FROM worker.breakers b
        WHERE b.provider = p_provider AND b.model = p_model AND b.state <> 'closed';
        IF NOT FOUND THEN
            RETURN 0;
        END IF;
        UPDATE worker.breakers b SET state = 'half_open', retry_at = clock_timestamp() + interval '60 seconds'
        WHERE b.provider = p_provider AND b.model = p_model AND b.state <> 'closed'
          AND b.retry_at <= clock_timestamp();
        IF FOUND THEN
            RETURN 0;
        END IF;
        IF v_breaker.state = 'half_open' OR v_breaker.retry_at <= clock_timestamp() THEN
            RETURN 1000 + random() * 4000;
        END IF;
        v_until := v_breaker.retry_at;
    END IF;
    RETURN greatest(1, ceil(extract(epoch FROM v_until - clock_timestamp()) * 1000)
                       + random() * least(2000, extract(epoch FROM v_until - clock_timestamp()) * 100));
END $$;

-- Fill a bucket up to now and lock it; say what a call reserves, in how many seconds there may be room for one
-- (0: there is), and how many pass a second. The rate stays so far below the limit, and the bucket so small,
-- that no minute, wherever it begins, sees more than the limit: capacity + 60 s of refill is 99 % of it. A
-- bucket that holds more than one call loses nothing when the next one comes a little late.
CREATE FUNCTION worker.fn_fill_bucket(
    p_provider text, p_model text, p_key text, p_requests_per_minute double precision,
    p_tokens_per_minute double precision, p_concurrency integer,
    OUT tag double precision, OUT reserve double precision, OUT soonest_seconds double precision,
    OUT pace double precision
) LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_bucket worker.buckets;
    v_seconds double precision;
    v_most_requests double precision :=
        greatest(1, least(2, p_requests_per_minute / 30), p_requests_per_minute / 50);
    v_most_tokens double precision;
    v_request_rate double precision;
    v_token_rate double precision;
BEGIN
    LOOP
        SELECT * INTO v_bucket FROM worker.buckets b
        WHERE b.provider = p_provider AND b.model = p_model AND b.key = p_key FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO worker.buckets (provider, model, key, requests, tokens)
        VALUES (p_provider, p_model, p_key, v_most_requests, coalesce(p_tokens_per_minute / 50, 0))
        ON CONFLICT DO NOTHING;
    END LOOP;
    v_seconds := greatest(0, extract(epoch FROM clock_timestamp() - v_bucket.filled_at));
    v_request_rate := (0.99 * p_requests_per_minute - v_most_requests + 1) / 60;
    v_bucket.requests := CASE WHEN p_requests_per_minute IS NULL THEN 1
        ELSE least(v_most_requests, v_bucket.requests + v_seconds * v_request_rate) END;
    reserve := coalesce(least(coalesce(v_bucket.most_tokens * 1.1, 1000), p_tokens_per_minute / 2), 0);
    v_most_tokens := greatest(p_tokens_per_minute / 50, reserve);
    v_token_rate := (0.99 * p_tokens_per_minute - v_most_tokens) / 60;
    v_bucket.tokens := CASE WHEN p_tokens_per_minute IS NULL THEN 0
        ELSE least(v_most_tokens, v_bucket.tokens + v_seconds * v_token_rate) END;
    UPDATE worker.buckets b
    SET requests = v_bucket.requests, tokens = v_bucket.tokens,
        filled_at = greatest(b.filled_at, clock_timestamp())
    WHERE b.provider = p_provider AND b.model = p_model AND b.key = p_key;
    tag := v_bucket.tag;
    pace := least(v_request_rate, v_token_rate / nullif(coalesce(v_bucket.mean_tokens, reserve), 0),
                  p_concurrency / v_bucket.seconds_per_call);
    soonest_seconds := greatest(0, (1 - v_bucket.requests) / v_request_rate,
                                (reserve - v_bucket.tokens) / v_token_rate,
                                CASE WHEN p_concurrency <= (
                                    SELECT count(*) FROM worker.passages a
                                    WHERE a.provider = p_provider AND a.model = p_model AND a.key = p_key
                                      AND a.expires_at > clock_timestamp())
                                THEN v_bucket.seconds_per_call / p_concurrency END);
END $$;

-- The limits that a call is under, the provider's before the model's.
CREATE FUNCTION worker.fn_limits_of(p_provider text, p_model text, p_key text)
RETURNS TABLE (model text, requests_per_minute double precision, tokens_per_minute double precision, concurrency integer)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(l.model, b.model),
           least(l.requests_per_minute, b.learnt_requests_per_minute),
           least(l.tokens_per_minute, b.learnt_tokens_per_minute), l.concurrency
    FROM (SELECT * FROM worker.provider_limits s WHERE s.provider = p_provider AND s.model IN ('*', p_model)) AS l
    FULL JOIN (SELECT * FROM worker.buckets s
               WHERE s.provider = p_provider AND s.model = p_model AND s.key = p_key
                 AND (s.learnt_requests_per_minute IS NOT NULL OR s.learnt_tokens_per_minute IS NOT NULL)) AS b
        ON b.model = l.model
    ORDER BY 1
$$;

-- The first in a bucket's line of those who come when they are called.
CREATE FUNCTION worker.fn_first_in_line(p_provider text, p_model text, p_key text) RETURNS worker.waiters
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT w FROM worker.waiters w
    WHERE w.provider = p_provider AND w.model = p_model AND w.key = p_key AND w.is_message
      AND (w.called_at IS NULL OR w.called_at > clock_timestamp() - interval '2 seconds')
    ORDER BY w.tag LIMIT 1
$$;

-- Have the first in a line come in p_seconds, unless it comes before.
CREATE FUNCTION worker.fn_call_next(p_provider text, p_model text, p_key text, p_seconds double precision)
RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_first worker.waiters := worker.fn_first_in_line(p_provider, p_model, p_key);
    v_at timestamptz := clock_timestamp() + p_seconds * interval '1 second';
    v_queue text;
BEGIN
    IF v_first.ticket IS NULL OR v_first.called_at <= v_at THEN
        RETURN;
    END IF;
    UPDATE worker.waiters w SET called_at = v_at WHERE w.ticket = v_first.ticket;
    UPDATE dramatiq.queue q SET mtime = v_at
    WHERE q.message_id = v_first.ticket AND q.state IS NOT DISTINCT FROM 'queued' AND q.mtime > v_at
    RETURNING q.queue_name INTO v_queue;
    IF v_queue IS NOT NULL THEN
        PERFORM pg_notify('dramatiq.' || v_queue || '.enqueue', CASE WHEN p_seconds > 0 THEN 'delayed' ELSE '' END);
    END IF;
END $$;

-- Give a ticket its place in a line, unless it has one there, and return its tag.
CREATE FUNCTION worker.fn_stand_in_line(
    p_ticket uuid, p_provider text, p_model text, p_key text, p_owner text, p_passed double precision
) RETURNS double precision
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_owner text := coalesce(p_owner, '');
    v_tag double precision;
BEGIN
    UPDATE worker.waiters w SET called_at = NULL
    WHERE w.ticket = p_ticket AND w.provider = p_provider AND w.model = p_model AND w.key = p_key
    RETURNING w.tag INTO v_tag;
    IF FOUND THEN
        RETURN v_tag;
    END IF;
    INSERT INTO worker.lines AS l (provider, model, key, owner, last_tag)
    VALUES (p_provider, p_model, p_key, v_owner, p_passed + 1 / worker.fn_owner_weight(v_owner))
    ON CONFLICT (provider, model, key, owner) DO UPDATE
    SET last_tag = greatest(p_passed, l.last_tag) + 1 / worker.fn_owner_weight(v_owner), changed_at = now()
    RETURNING l.last_tag INTO v_tag;
    INSERT INTO worker.waiters AS w (ticket, provider, model, key, owner, tag, is_message)
    VALUES (p_ticket, p_provider, p_model, p_key, v_owner, v_tag,
            EXISTS (SELECT FROM dramatiq.queue q WHERE q.message_id = p_ticket))
    ON CONFLICT (ticket) DO UPDATE
    SET provider = p_provider, model = p_model, key = p_key, owner = v_owner, tag = v_tag, called_at = NULL;
    RETURN v_tag;
END $$;

-- Let a call go, or say in how many milliseconds to come back: 0 is go. Asked again by the same ticket, an
-- earlier passage of it is over. The buckets are locked for an instant only.
CREATE FUNCTION worker.take_passage(
    p_ticket uuid, p_provider text, p_model text, p_key text, p_owner text, p_hold_seconds double precision
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_provider text := worker.fn_provider_name(p_provider);
    v_forbidden_ms integer := worker.fn_forbidden_ms(v_provider, p_model, p_key);
    v_limit record;
    v_bucket record;
    v_first worker.waiters;
    v_tag double precision;
BEGIN
    IF v_forbidden_ms > 0 THEN
        RETURN v_forbidden_ms;
    END IF;
    PERFORM worker.settle_passage(p_ticket);
    FOR v_limit IN SELECT * FROM worker.fn_limits_of(v_provider, p_model, p_key) LOOP
        SELECT * INTO v_bucket FROM worker.fn_fill_bucket(v_provider, v_limit.model, p_key,
            v_limit.requests_per_minute, v_limit.tokens_per_minute, v_limit.concurrency);
        v_first := worker.fn_first_in_line(v_provider, v_limit.model, p_key);
        IF v_bucket.soonest_seconds > 0 OR v_first.ticket <> p_ticket THEN
            v_tag := worker.fn_stand_in_line(
                p_ticket, v_provider, v_limit.model, p_key, p_owner, v_bucket.tag);
            IF v_bucket.soonest_seconds > 0 OR v_first.tag < v_tag THEN
                DELETE FROM worker.passages a WHERE a.ticket = p_ticket;
                RETURN worker.fn_wait_in_line_ms(
                    v_provider, v_limit.model, p_key, v_tag, v_bucket.tag, v_bucket.soonest_seconds,
                    v_bucket.pace);
            END IF;
        END IF;
        INSERT INTO worker.passages AS a (ticket, provider, model, key, tokens, expires_at)
        VALUES (p_ticket, v_provider, v_limit.model, p_key, v_bucket.reserve,
                clock_timestamp() + p_hold_seconds * interval '1 second');
    END LOOP;
    PERFORM worker.fn_go(p_ticket);
    RETURN 0;
END $$;

-- How long a ticket with a place in line waits. The first comes when there may be room; others are called, and
-- look by themselves about when those ahead of them should have passed: an owner's tickets are a step apart, and
-- all lines move together, so the distance of tags tells how many those are without counting them.
CREATE FUNCTION worker.fn_wait_in_line_ms(
    p_provider text, p_model text, p_key text, p_tag double precision, p_passed double precision,
    p_soonest_seconds double precision, p_pace double precision
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_weights double precision;
BEGIN
    IF NOT EXISTS (SELECT FROM worker.waiters w
                   WHERE w.provider = p_provider AND w.model = p_model AND w.key = p_key AND w.tag < p_tag) THEN
        RETURN greatest(1, ceil(p_soonest_seconds * 1000));
    END IF;
    PERFORM worker.fn_call_next(p_provider, p_model, p_key, p_soonest_seconds);
    SELECT sum(worker.fn_owner_weight(l.owner)) INTO v_weights FROM (
        SELECT l.owner FROM worker.lines l
        WHERE l.provider = p_provider AND l.model = p_model AND l.key = p_key AND l.last_tag > p_passed
        LIMIT 1000) AS l;
    RETURN ceil(1000 * least(600, p_soonest_seconds + 1 + random()
                                  + 1.1 * (p_tag - p_passed) * coalesce(v_weights, 1) / p_pace));
END $$;

-- Take from the buckets that a ticket passes, and call the next one of each line.
CREATE FUNCTION worker.fn_go(p_ticket uuid) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_passed record;
    v_bucket record;
BEGIN
    FOR v_passed IN
        UPDATE worker.buckets b
        SET requests = b.requests - 1, tokens = b.tokens - a.tokens, tag = greatest(b.tag, w.tag)
        FROM worker.passages a LEFT JOIN worker.waiters w
            ON w.ticket = a.ticket AND w.provider = a.provider AND w.model = a.model AND w.key = a.key
        WHERE a.ticket = p_ticket AND b.provider = a.provider AND b.model = a.model AND b.key = a.key
        RETURNING b.provider, b.model, b.key
    LOOP
        DELETE FROM worker.waiters w WHERE w.ticket = p_ticket;
        PERFORM worker.fn_call_when_there_is_room(v_passed.provider, v_passed.model, v_passed.key);
    END LOOP;
END $$;

-- Have the first of a bucket's line come when there may be room for it; nothing where nobody waits.
CREATE FUNCTION worker.fn_call_when_there_is_room(p_provider text, p_model text, p_key text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_limit record;
    v_bucket record;
BEGIN
    IF NOT EXISTS (SELECT FROM worker.waiters w
                   WHERE w.provider = p_provider AND w.model = p_model AND w.key = p_key) THEN
        RETURN;
    END IF;
    SELECT * INTO v_limit FROM worker.fn_limits_of(p_provider, p_model, p_key) AS l WHERE l.model = p_model;
    IF FOUND THEN
        SELECT * INTO v_bucket FROM worker.fn_fill_bucket(p_provider, p_model, p_key,
            v_limit.requests_per_minute, v_limit.tokens_per_minute, v_limit.concurrency);
        PERFORM worker.fn_call_next(p_provider, p_model, p_key, v_bucket.soonest_seconds);
    END IF;
END $$;

-- A call is over: give back what it did not take, and call the next one. p_calls is 0 when none was made,
-- p_tokens null when nobody knows what it took.
CREATE FUNCTION worker.settle_passage(
    p_ticket uuid, p_calls integer DEFAULT 1, p_tokens double precision DEFAULT NULL,
    p_seconds double precision DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_bucket record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR v_bucket IN
        WITH over AS (DELETE FROM worker.passages a WHERE a.ticket = p_ticket RETURNING a.*)
        UPDATE worker.buckets b
        SET requests = b.requests + 1 - p_calls,
            tokens = b.tokens + o.tokens - CASE WHEN p_calls = 0 THEN 0 ELSE coalesce(p_tokens, o.tokens) END,
            most_tokens = coalesce(greatest(p_tokens / nullif(p_calls, 0), b.most_tokens * 0.95), b.most_tokens),
            mean_tokens = coalesce(b.mean_tokens * 0.9 + p_tokens / nullif(p_calls, 0) * 0.1, b.mean_tokens,
                                   p_tokens / nullif(p_calls, 0)),
            seconds_per_call = coalesce(
                greatest(0.01, b.seconds_per_call * 0.9 + p_seconds * 0.1), b.seconds_per_call)
        FROM over o
        WHERE b.provider = o.provider AND b.model = o.model AND b.key = o.key
        RETURNING b.provider, b.model, b.key
    LOOP
        PERFORM worker.fn_call_when_there_is_room(v_bucket.provider, v_bucket.model, v_bucket.key);
    END LOOP;
END $$;

-- The passage that a job needs before it is claimed: 0 is go, else milliseconds to wait. `bound` tells whether
-- there is something to settle afterwards, `owner` whose budgets the call is under, if it is under any.
CREATE FUNCTION worker.fn_pass(
    p_kind worker.kinds, p_job uuid, p_ticket uuid, p_hold_seconds double precision,
    OUT wait_ms integer, OUT bound boolean, OUT owner text
) LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_call record;
    v_budgets_exist boolean;
BEGIN
    wait_ms := 0;
    bound := p_kind.call IS NOT NULL AND p_job IS NOT NULL AND worker.fn_calls_are_bound();
    v_budgets_exist := p_kind.call IS NOT NULL AND p_job IS NOT NULL AND worker.fn_budgets_exist();
    IF NOT (bound OR v_budgets_exist) THEN
        RETURN;
    END IF;
    EXECUTE p_kind.call INTO v_call USING p_job;
    IF v_budgets_exist THEN
        owner := worker.fn_budgeted_owner(v_call.owner);
    END IF;
    bound := bound AND v_call.provider IS NOT NULL AND v_call.model IS NOT NULL;
    IF bound THEN
        wait_ms := worker.take_passage(
            p_ticket, v_call.provider, v_call.model, v_call.key, v_call.owner, p_hold_seconds);
    END IF;
END $$;

-- The same for a call without a claim; `bound` tells whether there is something to settle.
CREATE FUNCTION worker.ask_passage(
    p_ticket uuid, p_provider text, p_model text, p_key text, p_owner text, p_hold_seconds double precision,
    OUT wait_ms integer, OUT bound boolean, OUT owner text
) LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    bound := worker.fn_calls_are_bound();
    owner := worker.fn_budgeted_owner(p_owner);
    wait_ms := CASE WHEN bound THEN worker.take_passage(
        p_ticket, p_provider, p_model, p_key, p_owner, p_hold_seconds) ELSE 0 END;
END $$;

-- Take in what calls came to: [{provider, model, calls, failures, error_code}]. A breaker opens when at least
-- p_min_calls of the window were made and p_failure_rate of them failed; each time in a row for twice as long.
CREATE FUNCTION worker.record_calls(
    p_calls jsonb, p_window_seconds double precision, p_min_calls integer, p_failure_rate double precision,
    p_open_seconds double precision
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_told record;
    v_window record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR v_told IN
        SELECT c.* FROM jsonb_to_recordset(p_calls) AS c (
            provider text, model text, calls integer, failures integer, error_code text)
        ORDER BY c.provider, c.model
    LOOP
        INSERT INTO worker.call_counts AS c (provider, model, slot, calls, failures)
        VALUES (v_told.provider, v_told.model, date_bin('5 seconds', clock_timestamp(), '2000-01-01'),
                v_told.calls, v_told.failures)
        ON CONFLICT (provider, model, slot) DO UPDATE
        SET calls = c.calls + excluded.calls, failures = c.failures + excluded.failures;
        IF v_told.failures < v_told.calls THEN
            UPDATE worker.breakers b
            SET state = 'closed', openings = 0, opened_at = NULL, retry_at = NULL, error_code = NULL
            WHERE b.provider = v_told.provider AND b.model = v_told.model AND b.state = 'half_open';
            IF FOUND THEN
                DELETE FROM worker.call_counts c WHERE c.provider = v_told.provider AND c.model = v_told.model;
            END IF;
        END IF;
        CONTINUE WHEN v_told.failures = 0;
        SELECT coalesce(sum(c.calls), 0) AS calls, coalesce(sum(c.failures), 0) AS failures INTO v_window
        FROM worker.call_counts c
        WHERE c.provider = v_told.provider AND c.model = v_told.model
          AND c.slot > clock_timestamp() - p_window_seconds * interval '1 second';
        INSERT INTO worker.breakers AS b (provider, model, state, openings, opened_at, retry_at, error_code)
        SELECT v_told.provider, v_told.model, 'open', 1, clock_timestamp(),
               clock_timestamp() + p_open_seconds * interval '1 second', v_told.error_code
        WHERE EXISTS (SELECT FROM worker.breakers o WHERE o.provider = v_told.provider
                      AND o.model = v_told.model AND o.state = 'half_open' AND v_told.failures = v_told.calls)
           OR (v_window.calls >= p_min_calls AND v_window.failures >= p_failure_rate * v_window.calls)
        ON CONFLICT (provider, model) DO UPDATE
        SET state = 'open', openings = b.openings + 1, opened_at = clock_timestamp(),
            retry_at = clock_timestamp() + least(600, p_open_seconds * 2 ^ least(b.openings, 10)) * interval '1 second',
            error_code = excluded.error_code
        WHERE b.state <> 'open';
    END LOOP;
END $$;

-- A provider asked to be left alone for a while by one key.
CREATE FUNCTION worker.pause_provider(p_provider text, p_model text, p_key text, p_seconds double precision)
RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.provider_pauses AS p (provider, model, key, until)
    VALUES (worker.fn_provider_name(p_provider), p_model, p_key, clock_timestamp() + p_seconds * interval '1 second')
    ON CONFLICT (provider, model, key) DO UPDATE SET until = greatest(p.until, excluded.until)
$$;

-- A provider refused a person's key: nobody tries it again for a while.
CREATE FUNCTION worker.reject_key(p_key_id uuid, p_provider text, p_seconds double precision) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.rejected_keys AS r (key_id, provider, until)
    VALUES (p_key_id, p_provider, clock_timestamp() + p_seconds * interval '1 second')
    ON CONFLICT (key_id) DO UPDATE SET until = excluded.until, provider = excluded.provider
$$;

-- What a provider's answer says of a key's limits; null leaves one as it is.
CREATE FUNCTION worker.learn_limits(
    p_provider text, p_model text, p_key text, p_requests_per_minute double precision,
    p_tokens_per_minute double precision
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.buckets AS b (
        provider, model, key, learnt_requests_per_minute, learnt_tokens_per_minute, tokens)
    VALUES (worker.fn_provider_name(p_provider), p_model, p_key, p_requests_per_minute, p_tokens_per_minute,
            coalesce(p_tokens_per_minute / 50, 0))
    ON CONFLICT (provider, model, key) DO UPDATE
    SET learnt_requests_per_minute = coalesce(excluded.learnt_requests_per_minute, b.learnt_requests_per_minute),
        learnt_tokens_per_minute = coalesce(excluded.learnt_tokens_per_minute, b.learnt_tokens_per_minute)
$$;

-- Make the limits of the settings the ones in force: [{provider, model, requests_per_minute, …}].
CREATE FUNCTION worker.set_limits(p_limits jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    DELETE FROM worker.provider_limits l
    WHERE l.source = 'settings' AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(p_limits) AS n (provider text, model text)
        WHERE n.provider = l.provider AND n.model = l.model);
    INSERT INTO worker.provider_limits AS l (
        provider, model, requests_per_minute, tokens_per_minute, concurrency, source)
    SELECT n.provider, n.model, n.requests_per_minute, n.tokens_per_minute, n.concurrency, 'settings'
    FROM jsonb_to_recordset(p_limits) AS n (
        provider text, model text, requests_per_minute double precision, tokens_per_minute double precision,
        concurrency integer)
    ON CONFLICT (provider, model) DO UPDATE
    SET requests_per_minute = excluded.requests_per_minute, tokens_per_minute = excluded.tokens_per_minute,
        concurrency = excluded.concurrency, changed_at = now()
    WHERE l.source = 'settings';
END $$;

-- Delete what the past left: a batch is small since all of this is.
CREATE FUNCTION worker.prune_limits() RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_deleted integer := 0;
    v_count integer;
BEGIN
    DELETE FROM worker.passages a
    WHERE a.expires_at < now() OR EXISTS (
        -- Its worker died between the end of the job and that of the passage.
        SELECT FROM worker.claims c WHERE c.message_id = a.ticket AND c.finished_at < now() - interval '1 minute');
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;
    DELETE FROM worker.waiters w
    WHERE w.since < now() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM dramatiq.queue q WHERE q.message_id = w.ticket AND q.state IN ('queued', 'consumed'));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;
    DELETE FROM worker.lines l
    WHERE l.changed_at < now() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM worker.waiters w WHERE w.provider = l.provider AND w.model = l.model
                      AND w.key = l.key AND w.owner = l.owner);
    -- A bucket that nobody used for a day is full again, or has limits that may have changed since.
    DELETE FROM worker.buckets b
    WHERE b.filled_at < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM worker.passages a WHERE a.provider = b.provider AND a.model = b.model AND a.key = b.key)
      AND NOT EXISTS (SELECT FROM worker.waiters w WHERE w.provider = b.provider AND w.model = b.model AND w.key = b.key);
    DELETE FROM worker.call_counts c WHERE c.slot < now() - interval '1 hour';
    DELETE FROM worker.provider_pauses p WHERE p.until < now();
    DELETE FROM worker.rejected_keys r WHERE r.until < now();
    DELETE FROM worker.owner_turns t WHERE t.last_turn < now() - interval '1 hour';
    RETURN v_deleted;
END $$;

-- A person sets a limit, or takes one away. In force with the next call.
CREATE FUNCTION worker.set_limit(
    p_provider text, p_model text, p_requests_per_minute double precision,
    p_tokens_per_minute double precision, p_concurrency integer
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.provider_limits AS l (
        provider, model, requests_per_minute, tokens_per_minute, concurrency, source)
    VALUES (worker.fn_provider_name(p_provider), p_model, p_requests_per_minute, p_tokens_per_minute,
            p_concurrency, 'operator')
    ON CONFLICT (provider, model) DO UPDATE
    SET requests_per_minute = excluded.requests_per_minute, tokens_per_minute = excluded.tokens_per_minute,
        concurrency = excluded.concurrency, source = 'operator', changed_at = now()
$$;

CREATE FUNCTION worker.unset_limit(p_provider text, p_model text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    DELETE FROM worker.provider_limits l
    WHERE l.provider = worker.fn_provider_name(p_provider) AND l.model = p_model;
    RETURN FOUND;
END $$;

CREATE FUNCTION worker.weigh_owner(p_owner text, p_weight double precision) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.owner_weights (owner, weight) VALUES (p_owner, p_weight)
    ON CONFLICT (owner) DO UPDATE SET weight = excluded.weight
$$;

-- Every limit that is set, with the calls of all keys under it.
CREATE FUNCTION worker.limit_status() RETURNS TABLE (
    provider text, model text, requests_per_minute double precision, tokens_per_minute double precision,
    concurrency integer, source text, under_way bigint, waiting bigint
)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT l.provider, l.model, l.requests_per_minute, l.tokens_per_minute, l.concurrency, l.source,
           (SELECT count(*) FROM worker.passages a
            WHERE a.provider = l.provider AND a.model = l.model AND a.expires_at > now()),
           (SELECT count(*) FROM worker.waiters w WHERE w.provider = l.provider AND w.model = l.model)
    FROM worker.provider_limits l
$$;

-- What keeps calls waiting now: who waits for which limit, what providers asked for, and open breakers.
CREATE VIEW worker.hindrances AS
    SELECT w.provider, w.model, w.key, 'limit' AS hindrance, count(*) AS waiting,
           NULL::numeric AS seconds_left, NULL AS error_code
    FROM worker.waiters w GROUP BY w.provider, w.model, w.key
    UNION ALL
    SELECT p.provider, p.model, p.key, 'pause', NULL, extract(epoch FROM p.until - now()), NULL
    FROM worker.provider_pauses p WHERE p.until > now()
    UNION ALL
    SELECT b.provider, b.model, NULL, 'breaker ' || replace(b.state, '_', ' '), NULL,
           greatest(0, extract(epoch FROM b.retry_at - now())), b.error_code
    FROM worker.breakers b WHERE b.state <> 'closed';
COMMENT ON VIEW worker.hindrances IS 'What keeps calls to AI providers waiting.';

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
