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
    -- what one call may take: the most of late, slowly forgotten; and how long one takes, on average
    tokens_per_call double precision NOT NULL DEFAULT 1000,
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

-- Who waits for a bucket: a job's turn comes at due_at, and it keeps its place if there is still no room.
CREATE TABLE worker.waiters (
    ticket uuid PRIMARY KEY,
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    owner text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL
);
CREATE INDEX waiters_due ON worker.waiters (provider, model, key, due_at);

-- Each owner has a line of its own before a bucket; all lines move at the same pace.
CREATE TABLE worker.lines (
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    owner text NOT NULL,
    ends_at timestamptz NOT NULL,
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

-- Whether anything at all could keep a call from being made; it is asked before every claim.
CREATE FUNCTION worker.fn_calls_are_bound() RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM worker.provider_limits)
        OR EXISTS (SELECT FROM worker.breakers b WHERE b.state <> 'closed')
        OR EXISTS (SELECT FROM worker.provider_pauses p WHERE p.until > now())
        OR EXISTS (SELECT FROM worker.buckets b WHERE b.learnt_requests_per_minute IS NOT NULL
                                                   OR b.learnt_tokens_per_minute IS NOT NULL)
$$;

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

-- Fill a bucket up to now and lock it. The rate stays so far below the limit, and the bucket so small, that
-- no minute, wherever it begins, sees more than the limit: capacity + 60 s of refill is 99 % of it. A bucket
-- that holds more than one call loses nothing when the next one comes a little late.
CREATE FUNCTION worker.fn_fill_bucket(
    p_provider text, p_model text, p_key text, p_requests_per_minute double precision,
    p_tokens_per_minute double precision,
    OUT bucket worker.buckets, OUT reserve double precision,
    OUT request_rate double precision, OUT token_rate double precision
) LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_seconds double precision;
    v_requests double precision := greatest(1, least(2, p_requests_per_minute / 30), p_requests_per_minute / 50);
    v_tokens double precision;
BEGIN
    LOOP
        SELECT * INTO bucket FROM worker.buckets b
        WHERE b.provider = p_provider AND b.model = p_model AND b.key = p_key FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO worker.buckets (provider, model, key, requests, tokens)
        VALUES (p_provider, p_model, p_key, v_requests, coalesce(p_tokens_per_minute / 50, 0))
        ON CONFLICT DO NOTHING;
    END LOOP;
    v_seconds := greatest(0, extract(epoch FROM clock_timestamp() - bucket.filled_at));
    bucket.filled_at := greatest(bucket.filled_at, clock_timestamp());
    reserve := 0;
    IF p_requests_per_minute IS NULL THEN
        bucket.requests := 1;
    END IF;
    IF p_tokens_per_minute IS NULL THEN
        bucket.tokens := 0;
    END IF;
    IF p_requests_per_minute IS NOT NULL THEN
        request_rate := (0.99 * p_requests_per_minute - v_requests + 1) / 60;
        bucket.requests := least(v_requests, bucket.requests + v_seconds * request_rate);
    END IF;
    IF p_tokens_per_minute IS NOT NULL THEN
        reserve := least(bucket.tokens_per_call * 1.1, p_tokens_per_minute / 2);
        v_tokens := greatest(p_tokens_per_minute / 50, reserve);
        token_rate := (0.99 * p_tokens_per_minute - v_tokens) / 60;
        bucket.tokens := least(v_tokens, bucket.tokens + v_seconds * token_rate);
    END IF;
    UPDATE worker.buckets b
    SET requests = bucket.requests, tokens = bucket.tokens, filled_at = bucket.filled_at
    WHERE b.provider = p_provider AND b.model = p_model AND b.key = p_key;
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

-- Let a call go, or say in how many milliseconds to come back: 0 is go. Asked again by the same ticket, an
-- earlier passage of it is over. Locks the buckets for an instant only.
CREATE FUNCTION worker.take_passage(
    p_ticket uuid, p_provider text, p_model text, p_key text, p_owner text, p_hold_seconds double precision
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_provider text := worker.fn_provider_name(p_provider);
    v_forbidden_ms integer := worker.fn_forbidden_ms(v_provider, p_model, p_key);
    v_limit record;
    v_filled record;
    v_seconds double precision := 0;
    v_needed double precision;
    v_rate double precision;
    v_slowest double precision;
    v_full text;
BEGIN
    IF v_forbidden_ms > 0 THEN
        RETURN v_forbidden_ms;
    END IF;
    PERFORM worker.settle_passage(p_ticket);
    FOR v_limit IN SELECT * FROM worker.fn_limits_of(v_provider, p_model, p_key) LOOP
        SELECT * INTO v_filled FROM worker.fn_fill_bucket(
            v_provider, v_limit.model, p_key, v_limit.requests_per_minute, v_limit.tokens_per_minute);
        v_needed := greatest(0, (1 - (v_filled.bucket).requests) / v_filled.request_rate,
                             (v_filled.reserve - (v_filled.bucket).tokens) / v_filled.token_rate);
        v_rate := least(v_filled.request_rate, v_filled.token_rate / nullif(v_filled.reserve, 0),
                        v_limit.concurrency / (v_filled.bucket).seconds_per_call);
        IF v_limit.concurrency IS NOT NULL AND v_limit.concurrency <= (
            SELECT count(*) FROM worker.passages a
            WHERE a.provider = v_provider AND a.model = v_limit.model AND a.key = p_key
              AND a.expires_at > clock_timestamp())
        THEN
            v_needed := greatest(v_needed, (v_filled.bucket).seconds_per_call / v_limit.concurrency);
        END IF;
        IF v_needed > v_seconds THEN
            v_seconds := v_needed;
            v_slowest := v_rate;
            v_full := v_limit.model;
        END IF;
        INSERT INTO worker.passages AS a (ticket, provider, model, key, tokens, expires_at)
        VALUES (p_ticket, v_provider, v_limit.model, p_key, v_filled.reserve,
                clock_timestamp() + p_hold_seconds * interval '1 second');
    END LOOP;
    IF v_seconds > 0 THEN
        DELETE FROM worker.passages a WHERE a.ticket = p_ticket;
        RETURN worker.fn_stand_in_line(p_ticket, v_provider, v_full, p_key, p_owner, v_slowest, v_seconds);
    END IF;
    UPDATE worker.buckets b SET requests = b.requests - 1, tokens = b.tokens - a.tokens
    FROM worker.passages a
    WHERE a.ticket = p_ticket AND b.provider = a.provider AND b.model = a.model AND b.key = a.key;
    DELETE FROM worker.waiters w WHERE w.ticket = p_ticket;
    RETURN 0;
END $$;

-- Give a ticket its place: p_rate tickets a second pass the bucket, shared by the owners who wait. One that
-- had its turn already and found no room comes back as soon as there may be some.
CREATE FUNCTION worker.fn_stand_in_line(
    p_ticket uuid, p_provider text, p_model text, p_key text, p_owner text, p_rate double precision,
    p_soonest_seconds double precision
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_owner text := coalesce(p_owner, '');
    v_due timestamptz;
    v_overdue integer;
    v_share double precision;
BEGIN
    SELECT w.due_at INTO v_due FROM worker.waiters w
    WHERE w.ticket = p_ticket AND w.provider = p_provider AND w.model = p_model AND w.key = p_key;
    IF FOUND THEN
        IF v_due > v_now THEN
            RETURN ceil(extract(epoch FROM v_due - v_now) * 1000);
        END IF;
        SELECT count(*) INTO v_overdue FROM (
            SELECT FROM worker.waiters w
            WHERE w.provider = p_provider AND w.model = p_model AND w.key = p_key AND w.due_at <= v_now
            LIMIT 1000) AS overdue;
        RETURN ceil((p_soonest_seconds + random() * v_overdue / p_rate) * 1000);
    END IF;
    SELECT worker.fn_owner_weight(v_owner)
           / (worker.fn_owner_weight(v_owner) + coalesce(sum(worker.fn_owner_weight(l.owner)), 0))
    INTO v_share FROM worker.lines l
    WHERE l.provider = p_provider AND l.model = p_model AND l.key = p_key
      AND l.ends_at > v_now AND l.owner <> v_owner;
    INSERT INTO worker.lines AS l (provider, model, key, owner, ends_at)
    VALUES (p_provider, p_model, p_key, v_owner, v_now + 1 / (p_rate * v_share) * interval '1 second')
    ON CONFLICT (provider, model, key, owner) DO UPDATE
    SET ends_at = greatest(l.ends_at, v_now) + 1 / (p_rate * v_share) * interval '1 second'
    RETURNING l.ends_at INTO v_due;
    v_due := greatest(v_due - 1 / p_rate * interval '1 second', v_now + p_soonest_seconds * interval '1 second');
    INSERT INTO worker.waiters AS w (ticket, provider, model, key, owner, due_at)
    VALUES (p_ticket, p_provider, p_model, p_key, v_owner, v_due)
    ON CONFLICT (ticket) DO UPDATE
    SET provider = p_provider, model = p_model, key = p_key, owner = v_owner, since = v_now, due_at = v_due;
    RETURN ceil(extract(epoch FROM v_due - v_now) * 1000);
END $$;

-- A call is over: give back what it did not take. p_calls is 0 when none was made, p_tokens null when nobody
-- knows what it took.
CREATE FUNCTION worker.settle_passage(
    p_ticket uuid, p_calls integer DEFAULT 1, p_tokens double precision DEFAULT NULL,
    p_seconds double precision DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    WITH over AS (DELETE FROM worker.passages a WHERE a.ticket = p_ticket RETURNING a.*)
    UPDATE worker.buckets b
    SET requests = b.requests + 1 - p_calls,
        tokens = b.tokens + o.tokens - CASE WHEN p_calls = 0 THEN 0 ELSE coalesce(p_tokens, o.tokens) END,
        tokens_per_call = CASE WHEN p_calls > 0 AND p_tokens IS NOT NULL
            THEN greatest(p_tokens / p_calls, b.tokens_per_call * 0.98) ELSE b.tokens_per_call END,
        seconds_per_call = CASE WHEN p_calls > 0 AND p_seconds IS NOT NULL
            THEN greatest(0.01, b.seconds_per_call * 0.9 + p_seconds * 0.1) ELSE b.seconds_per_call END
    FROM over o
    WHERE b.provider = o.provider AND b.model = o.model AND b.key = o.key;
END $$;

-- The passage that a job needs before it is claimed: 0 is go, else milliseconds to wait. `bound` tells whether
-- there is something to settle afterwards.
CREATE FUNCTION worker.fn_pass(
    p_kind worker.kinds, p_job uuid, p_ticket uuid, p_hold_seconds double precision,
    OUT wait_ms integer, OUT bound boolean
) LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_call record;
BEGIN
    wait_ms := 0;
    bound := p_kind.call IS NOT NULL AND p_job IS NOT NULL AND worker.fn_calls_are_bound();
    IF NOT bound THEN
        RETURN;
    END IF;
    EXECUTE p_kind.call INTO v_call USING p_job;
    bound := v_call.provider IS NOT NULL AND v_call.model IS NOT NULL;
    IF bound THEN
        wait_ms := worker.take_passage(
            p_ticket, v_call.provider, v_call.model, v_call.key, v_call.owner, p_hold_seconds);
    END IF;
END $$;

-- The same for a call without a claim; `bound` tells whether there is something to settle.
CREATE FUNCTION worker.ask_passage(
    p_ticket uuid, p_provider text, p_model text, p_key text, p_owner text, p_hold_seconds double precision,
    OUT wait_ms integer, OUT bound boolean
) LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    bound := worker.fn_calls_are_bound();
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
    DELETE FROM worker.passages a WHERE a.expires_at < now();
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;
    DELETE FROM worker.waiters w WHERE w.due_at < now() - interval '1 hour';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;
    DELETE FROM worker.lines l WHERE l.ends_at < now() - interval '1 hour';
    DELETE FROM worker.call_counts c WHERE c.slot < now() - interval '1 hour';
    DELETE FROM worker.provider_pauses p WHERE p.until < now();
    DELETE FROM worker.rejected_keys r WHERE r.until < now();
    DELETE FROM worker.owner_turns t WHERE t.last_turn < now() - interval '1 hour';
    RETURN v_deleted;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
