-- What all processes together may send to providers: limits, pauses and breakers, asked before a job is claimed.

-- Limits that somebody set. Those of a model come on top of those of its provider; each key has its own.
CREATE TABLE worker.provider_limits (
    provider text NOT NULL,
    -- '*': all models of the provider together
    model text NOT NULL DEFAULT '*',
    requests_per_minute worker.positive,
    tokens_per_minute worker.positive,
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
--
-- A row that every call rewrites leaves its former states behind for as long as somebody keeps an old view of the
-- database, and whoever looks for it by its key alone walks over all of them. So each state has a version that is in
-- the index, and the row is looked for from the highest one down.
CREATE TABLE worker.buckets (
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    -- begins above whatever an earlier bucket of this key has left behind
    version bigint NOT NULL DEFAULT extract(epoch FROM clock_timestamp()) * 1000000,
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
    -- passages that are not over
    under_way integer NOT NULL DEFAULT 0,
    -- nobody who can be next in line has a tag below this
    line_from double precision NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (provider, model, key, version)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- What the provider's answers say of a key's limits.
CREATE TABLE worker.learnt_limits (
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    requests_per_minute double precision,
    tokens_per_minute double precision,
    learnt_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, model, key)
);

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
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX passages_expiry ON worker.passages (provider, model, key, expires_at);

-- Who waits for a bucket, in the order of tags: an owner's tickets are a step of 1 / weight apart, behind its
-- own but not behind all that others queued (start-time fair queueing). Whoever passes calls the next one. A
-- message that is called comes in an instant. A node comes when its run looks next, and until then a place is kept
-- for it: those behind it pass only where there is room for one more.
CREATE TABLE worker.waiters (
    ticket uuid PRIMARY KEY,
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    owner text NOT NULL,
    tag double precision NOT NULL,
    -- or else a workflow's node
    is_message boolean NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- when it was last called to come; one that doesn't is passed over
    called_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX waiters_line ON worker.waiters (provider, model, key, tag);

-- The tag of each owner's last ticket in a line. It is in the indexes for the reason that a bucket's version is.
CREATE TABLE worker.lines (
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    owner text NOT NULL,
    last_tag double precision NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, model, key, owner, last_tag)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lines_ends ON worker.lines (provider, model, key, last_tag);

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
    -- whose calls it stops: '*' everybody's, else those of one person (worker.fn_breaker_scope)
    scope text NOT NULL DEFAULT '*',
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
    PRIMARY KEY (provider, model, scope)
);

-- Calls and those that failed by the provider's fault, in slots of five seconds. The owner is '' where nobody knows it.
CREATE TABLE worker.call_counts (
    provider text NOT NULL,
    model text NOT NULL,
    key text NOT NULL,
    owner text NOT NULL,
    slot timestamptz NOT NULL,
    calls integer NOT NULL,
    failures integer NOT NULL,
    PRIMARY KEY (provider, model, key, owner, slot)
);

-- The breaker of one person's calls: a key of their own has its own, and with the platform's key it is the owner's.
CREATE FUNCTION worker.fn_breaker_scope(p_key text, p_owner text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT CASE p_key WHEN 'platform' THEN concat('platform:', p_owner) ELSE p_key END
$$;

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
        OR EXISTS (SELECT FROM worker.learnt_limits);
END $$;

-- Milliseconds for which a breaker or a pause forbids a call, spread a little; 0 when none does. The call
-- that finds a breaker's time up is the one that tries; the others look again soon.
CREATE FUNCTION worker.fn_forbidden_ms(p_provider text, p_model text, p_key text, p_owner text) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_scopes text[] := ARRAY['*', worker.fn_breaker_scope(p_key, p_owner)];
    v_until timestamptz;
    v_is_tried boolean;
BEGIN
    SELECT max(p.until) INTO v_until FROM worker.provider_pauses p
    WHERE p.provider = p_provider AND p.model IN ('*', p_model) AND p.key = p_key AND p.until > clock_timestamp();
    IF v_until IS NULL THEN
        SELECT max(b.retry_at), bool_and(b.state = 'half_open') INTO v_until, v_is_tried FROM worker.breakers b
        WHERE b.provider = p_provider AND b.model = p_model AND b.scope = ANY (v_scopes) AND b.state <> 'closed';
        IF v_until IS NULL THEN
            RETURN 0;
        END IF;
        IF v_until <= clock_timestamp() THEN
            UPDATE worker.breakers b SET state = 'half_open', retry_at = clock_timestamp() + interval '60 seconds'
            WHERE b.provider = p_provider AND b.model = p_model AND b.scope = ANY (v_scopes)
              AND b.state <> 'closed' AND b.retry_at <= clock_timestamp();
            IF FOUND THEN
                RETURN 0;
            END IF;
            v_is_tried := true;
        END IF;
        IF v_is_tried THEN
            RETURN 1000 + random() * 4000;
        END IF;
    END IF;
    RETURN greatest(1, ceil(extract(epoch FROM v_until - clock_timestamp()) * 1000)
                       + random() * least(2000, extract(epoch FROM v_until - clock_timestamp()) * 100));
END $$;

-- The bucket of a key, locked; null where there is none.
CREATE FUNCTION worker.fn_lock_bucket(p_provider text, p_model text, p_key text) RETURNS worker.buckets
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_bucket worker.buckets;
BEGIN
    -- Not by its version: one that changes while this waits for the lock is followed to its newest.
    SELECT * INTO v_bucket FROM worker.buckets b
    WHERE b.provider = p_provider AND b.model = p_model AND b.key = p_key
    ORDER BY b.version DESC LIMIT 1 FOR UPDATE;
    RETURN v_bucket;
END $$;

-- Write a bucket that is locked.
CREATE FUNCTION worker.fn_write_bucket(p_bucket worker.buckets) RETURNS void
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    UPDATE worker.buckets b
    SET version = b.version + 1, requests = p_bucket.requests, tokens = p_bucket.tokens,
        filled_at = p_bucket.filled_at, tag = p_bucket.tag, most_tokens = p_bucket.most_tokens,
        mean_tokens = p_bucket.mean_tokens, seconds_per_call = p_bucket.seconds_per_call,
        under_way = p_bucket.under_way, line_from = p_bucket.line_from
    WHERE b.provider = p_bucket.provider AND b.model = p_bucket.model AND b.key = p_bucket.key
      AND b.version = p_bucket.version;
END $$;

-- The bucket of a key, locked; a full one where there was none.
CREATE FUNCTION worker.fn_lock_or_make_bucket(
    p_provider text, p_model text, p_key text, p_requests double precision, p_tokens double precision
) RETURNS worker.buckets
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_bucket worker.buckets;
BEGIN
    LOOP
        v_bucket := worker.fn_lock_bucket(p_provider, p_model, p_key);
        IF v_bucket.key IS NOT NULL THEN
            RETURN v_bucket;
        END IF;
        PERFORM pg_advisory_xact_lock(hashtext('worker.buckets'), hashtext(concat_ws('/', p_provider, p_model, p_key)));
        INSERT INTO worker.buckets (provider, model, key, requests, tokens)
        SELECT p_provider, p_model, p_key, p_requests, p_tokens
        WHERE NOT EXISTS (SELECT FROM worker.buckets b
                          WHERE b.provider = p_provider AND b.model = p_model AND b.key = p_key);
    END LOOP;
END $$;

-- How many passages of a bucket ran out since it was last filled: those of workers that died. They are deleted.
CREATE FUNCTION worker.fn_end_expired_passages(p_bucket worker.buckets, p_until timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_count integer;
BEGIN
    DELETE FROM worker.passages a
    WHERE a.provider = p_bucket.provider AND a.model = p_bucket.model AND a.key = p_bucket.key
      AND a.expires_at BETWEEN p_bucket.filled_at AND p_until;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- For how many nodes that were called a place is kept in a bucket, ahead of everybody else or of p_ticket.
CREATE FUNCTION worker.fn_kept_places(p_provider text, p_model text, p_key text, p_ticket uuid) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_from double precision := worker.fn_known_line_from(p_provider, p_model, p_key);
    v_waiter worker.waiters;
    v_count integer := 0;
BEGIN
    FOR v_waiter IN
        SELECT * FROM worker.waiters w
        WHERE w.provider = p_provider AND w.model = p_model AND w.key = p_key AND w.tag >= v_from
          AND (w.called_at IS NULL OR w.called_at > clock_timestamp() - interval '2 seconds')
        ORDER BY w.tag
    LOOP
        EXIT WHEN v_waiter.ticket = p_ticket OR v_waiter.is_message
            OR v_waiter.called_at IS NULL OR v_waiter.called_at > clock_timestamp();
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;

-- Fill a bucket up to now and lock it; say what a call reserves, in how many seconds there may be room for
-- p_ticket, or else for one more (0: there is), and how many pass a second. The rate stays so far below the
-- limit, and the bucket so small, that no minute, wherever it begins, sees more than the limit: capacity + 60 s
-- of refill is 99 % of it. A bucket that holds more than one call loses nothing when the next one comes a
-- little late. With p_goes_first no place is kept from the ticket.
CREATE FUNCTION worker.fn_fill_bucket(
    p_provider text, p_model text, p_key text, p_requests_per_minute double precision,
    p_tokens_per_minute double precision, p_concurrency integer, p_ticket uuid, p_goes_first boolean,
    OUT tag double precision, OUT reserve double precision, OUT soonest_seconds double precision,
    OUT pace double precision
) LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_bucket worker.buckets;
    v_now timestamptz;
    v_seconds double precision;
    v_kept integer;
    v_most_requests double precision :=
        greatest(1, least(2, p_requests_per_minute / 30), p_requests_per_minute / 50);
    v_most_tokens double precision;
    v_request_rate double precision;
    v_token_rate double precision;
BEGIN
    v_bucket := worker.fn_lock_or_make_bucket(
        p_provider, p_model, p_key, v_most_requests, coalesce(p_tokens_per_minute / 50, 0));
    v_now := greatest(v_bucket.filled_at, clock_timestamp());
    v_seconds := extract(epoch FROM v_now - v_bucket.filled_at);
    v_request_rate := (0.99 * p_requests_per_minute - v_most_requests + 1) / 60;
    v_bucket.requests := CASE WHEN p_requests_per_minute IS NULL THEN 1
        ELSE least(v_most_requests, v_bucket.requests + v_seconds * v_request_rate) END;
    reserve := coalesce(least(coalesce(v_bucket.most_tokens * 1.1, 1000), p_tokens_per_minute / 2), 0);
    v_most_tokens := greatest(p_tokens_per_minute / 50, reserve);
    v_token_rate := (0.99 * p_tokens_per_minute - v_most_tokens) / 60;
    v_bucket.tokens := CASE WHEN p_tokens_per_minute IS NULL THEN 0
        ELSE least(v_most_tokens, v_bucket.tokens + v_seconds * v_token_rate) END;
    v_bucket.under_way := greatest(0, v_bucket.under_way - worker.fn_end_expired_passages(v_bucket, v_now));
    v_bucket.line_from := worker.fn_line_from(v_bucket);
    v_bucket.filled_at := v_now;
    PERFORM worker.fn_write_bucket(v_bucket);
    v_kept := CASE WHEN p_goes_first THEN 0 ELSE worker.fn_kept_places(p_provider, p_model, p_key, p_ticket) END;
    tag := v_bucket.tag;
    pace := least(v_request_rate, v_token_rate / nullif(coalesce(v_bucket.mean_tokens, reserve), 0),
                  p_concurrency / v_bucket.seconds_per_call);
    soonest_seconds := greatest(0, (1 + v_kept - v_bucket.requests) / v_request_rate,
                                ((1 + v_kept) * reserve - v_bucket.tokens) / v_token_rate,
                                CASE WHEN p_concurrency <= v_bucket.under_way + v_kept
                                THEN v_bucket.seconds_per_call / p_concurrency END);
END $$;

-- Where a bucket's line begins: at the first who waits and isn't late, or else behind whoever passed last.
CREATE FUNCTION worker.fn_line_from(p_bucket worker.buckets) RETURNS double precision
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN coalesce((
        SELECT w.tag FROM worker.waiters w
        WHERE w.provider = p_bucket.provider AND w.model = p_bucket.model AND w.key = p_bucket.key
          AND w.tag >= p_bucket.line_from
          AND (w.called_at IS NULL OR w.called_at > clock_timestamp() - interval '2 seconds')
        ORDER BY w.tag LIMIT 1), p_bucket.tag);
END $$;

-- The same as it was last found.
CREATE FUNCTION worker.fn_known_line_from(p_provider text, p_model text, p_key text) RETURNS double precision
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN coalesce((
        SELECT b.line_from FROM worker.buckets b
        WHERE b.provider = p_provider AND b.model = p_model AND b.key = p_key
        ORDER BY b.version DESC LIMIT 1), '-infinity');
END $$;

-- The limits that a call is under, the provider's before the model's.
CREATE FUNCTION worker.fn_limits_of(p_provider text, p_model text, p_key text)
RETURNS TABLE (model text, requests_per_minute double precision, tokens_per_minute double precision, concurrency integer)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(l.model, e.model), least(l.requests_per_minute, e.requests_per_minute),
           least(l.tokens_per_minute, e.tokens_per_minute), l.concurrency
    FROM (SELECT * FROM worker.provider_limits s WHERE s.provider = p_provider AND s.model IN ('*', p_model)) AS l
    FULL JOIN (SELECT * FROM worker.learnt_limits s
               WHERE s.provider = p_provider AND s.model = p_model AND s.key = p_key) AS e
        ON e.model = l.model
    ORDER BY 1
$$;

-- The first in a bucket's line but for those who were called, and whose place is kept.
CREATE FUNCTION worker.fn_first_in_line(p_provider text, p_model text, p_key text) RETURNS worker.waiters
LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_from double precision := worker.fn_known_line_from(p_provider, p_model, p_key);
    v_first worker.waiters;
BEGIN
    SELECT * INTO v_first FROM worker.waiters w
    WHERE w.provider = p_provider AND w.model = p_model AND w.key = p_key AND w.tag >= v_from
      AND (w.is_message OR w.called_at IS NULL OR w.called_at > clock_timestamp())
      AND (w.called_at IS NULL OR w.called_at > clock_timestamp() - interval '2 seconds')
    ORDER BY w.tag LIMIT 1;
    RETURN v_first;
END $$;

-- Have the first in a line come in p_seconds, unless it comes before; true if that is a node that is to come now,
-- so that there may be room for another one. A message that is to come now goes before all that wait in its queue:
-- those that came before it may be thousands that have their place in line yet to take.
CREATE FUNCTION worker.fn_call_next(p_provider text, p_model text, p_key text, p_seconds double precision)
RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_first worker.waiters := worker.fn_first_in_line(p_provider, p_model, p_key);
    v_at timestamptz := clock_timestamp() + p_seconds * interval '1 second';
    v_is_called boolean := coalesce(v_first.called_at <= v_at, false);
    v_is_due boolean := p_seconds = 0 OR coalesce(v_first.called_at <= clock_timestamp(), false);
    v_queue text;
BEGIN
    IF v_first.ticket IS NULL OR v_is_called AND NOT (v_is_due AND v_first.is_message) THEN
        RETURN false;
    END IF;
    IF NOT v_is_called THEN
        UPDATE worker.waiters w SET called_at = v_at WHERE w.ticket = v_first.ticket;
    END IF;
    IF NOT v_first.is_message THEN
        PERFORM worker.fn_wake_node_in_line(v_first.ticket, v_at);
        RETURN p_seconds = 0;
    END IF;
    UPDATE dramatiq.queue q SET mtime = CASE WHEN v_is_due THEN worker.fn_front(q.queue_name, q.message) ELSE v_at END
    WHERE q.message_id = v_first.ticket AND q.state IS NOT DISTINCT FROM 'queued'
      AND q.mtime > CASE WHEN v_is_due THEN least(v_at, worker.fn_first_turn(q.queue_name)) ELSE v_at END
    RETURNING q.queue_name INTO v_queue;
    IF v_queue IS NOT NULL THEN
        PERFORM worker.fn_tell_takers(v_queue, CASE WHEN v_is_due THEN 0 ELSE 1000 * p_seconds END);
    END IF;
    RETURN false;
END $$;

-- The tag of an owner's new ticket in a line. Asked under the lock of the line's bucket.
CREATE FUNCTION worker.fn_next_tag(
    p_provider text, p_model text, p_key text, p_owner text, p_passed double precision
) RETURNS double precision
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_last double precision := (
        SELECT l.last_tag FROM worker.lines l
        WHERE l.provider = p_provider AND l.model = p_model AND l.key = p_key AND l.owner = p_owner
        ORDER BY l.last_tag DESC LIMIT 1);
    v_tag double precision := greatest(p_passed, v_last) + 1 / worker.fn_owner_weight(p_owner);
BEGIN
    UPDATE worker.lines l SET last_tag = v_tag, changed_at = now()
    WHERE l.provider = p_provider AND l.model = p_model AND l.key = p_key AND l.owner = p_owner
      AND l.last_tag = v_last;
    IF NOT FOUND THEN
        INSERT INTO worker.lines (provider, model, key, owner, last_tag)
        VALUES (p_provider, p_model, p_key, p_owner, v_tag);
    END IF;
    RETURN v_tag;
END $$;

-- Give a ticket its place in a line, unless it has one there, and return its tag.
CREATE FUNCTION worker.fn_stand_in_line(
    p_ticket uuid, p_provider text, p_model text, p_key text, p_owner text, p_passed double precision
) RETURNS double precision
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_owner text := coalesce(p_owner, '');
    v_bucket worker.buckets;
    v_tag double precision;
BEGIN
    UPDATE worker.waiters w SET called_at = NULL
    WHERE w.ticket = p_ticket AND w.provider = p_provider AND w.model = p_model AND w.key = p_key
    RETURNING w.tag INTO v_tag;
    IF FOUND THEN
        -- One that came late was passed over, and the line begins with it again.
        IF v_tag < worker.fn_known_line_from(p_provider, p_model, p_key) THEN
            v_bucket := worker.fn_lock_bucket(p_provider, p_model, p_key);
            v_bucket.line_from := v_tag;
            PERFORM worker.fn_write_bucket(v_bucket);
        END IF;
        RETURN v_tag;
    END IF;
    v_tag := worker.fn_next_tag(p_provider, p_model, p_key, v_owner, p_passed);
    INSERT INTO worker.waiters AS w (ticket, provider, model, key, owner, tag, is_message)
    VALUES (p_ticket, p_provider, p_model, p_key, v_owner, v_tag,
            EXISTS (SELECT FROM dramatiq.queue q WHERE q.message_id = p_ticket))
    ON CONFLICT (ticket) DO UPDATE
    SET provider = p_provider, model = p_model, key = p_key, owner = v_owner, tag = v_tag, called_at = NULL;
    RETURN v_tag;
END $$;

-- The limit, by its model, in whose line a ticket of such a call stands, and whether it has its turn there.
CREATE FUNCTION worker.fn_place_in_line(
    p_ticket uuid, p_provider text, p_model text, p_key text, OUT model text, OUT has_turn boolean
) LANGUAGE plpgsql STABLE SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_place worker.waiters;
    v_first worker.waiters;
BEGIN
    SELECT * INTO v_place FROM worker.waiters w
    WHERE w.ticket = p_ticket AND w.provider = p_provider AND w.key = p_key
      AND w.model IN (SELECT l.model FROM worker.fn_limits_of(p_provider, p_model, p_key) AS l);
    IF FOUND THEN
        v_first := worker.fn_first_in_line(p_provider, v_place.model, p_key);
        model := v_place.model;
        has_turn := v_first.tag IS NULL OR v_first.tag >= v_place.tag;
    END IF;
END $$;

-- Let a call go, or say in how many milliseconds to come back: 0 is go. Asked again by the same ticket, an
-- earlier passage of it is over. The buckets are locked for an instant only.
-- Who stands in a line waits there. Who has its turn in one line goes before those in that of its other limit, as
-- long as there is room: were it sent behind them, and they behind those of its own line, nobody would ever pass both.
CREATE FUNCTION worker.take_passage(
    p_ticket uuid, p_provider text, p_model text, p_key text, p_owner text, p_hold_seconds double precision
) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_provider text := worker.fn_provider_name(p_provider);
    v_forbidden_ms integer := worker.fn_forbidden_ms(v_provider, p_model, p_key, p_owner);
    v_place record;
    v_goes_first boolean;
    v_limit record;
    v_bucket record;
    v_first worker.waiters;
    v_tag double precision;
BEGIN
    IF v_forbidden_ms > 0 THEN
        -- A place that is kept for it is of no use to it now.
        UPDATE worker.waiters w SET called_at = '-infinity' WHERE w.ticket = p_ticket AND NOT w.is_message;
        RETURN v_forbidden_ms;
    END IF;
    PERFORM worker.settle_passage(p_ticket);
    v_place := worker.fn_place_in_line(p_ticket, v_provider, p_model, p_key);
    FOR v_limit IN SELECT * FROM worker.fn_limits_of(v_provider, p_model, p_key) LOOP
        v_goes_first := coalesce(v_place.model <> v_limit.model, false);
        CONTINUE WHEN v_goes_first AND NOT v_place.has_turn;
        SELECT * INTO v_bucket FROM worker.fn_fill_bucket(v_provider, v_limit.model, p_key,
            v_limit.requests_per_minute, v_limit.tokens_per_minute, v_limit.concurrency, p_ticket, v_goes_first);
        v_first := worker.fn_first_in_line(v_provider, v_limit.model, p_key);
        IF v_bucket.soonest_seconds > 0 OR v_first.ticket <> p_ticket AND NOT v_goes_first THEN
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
    IF NOT v_place.has_turn THEN
        -- It has come this instant.
        DELETE FROM worker.passages a WHERE a.ticket = p_ticket;
        RETURN 1;
    END IF;
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
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    v_first worker.waiters := worker.fn_first_in_line(p_provider, p_model, p_key);
    v_weights double precision;
BEGIN
    -- A message that asks comes again by itself, and can't be called before it is put back.
    IF v_first.tag < p_tag OR NOT v_first.is_message THEN
        PERFORM worker.fn_call_next(p_provider, p_model, p_key, p_soonest_seconds);
    END IF;
    IF v_first.tag >= p_tag THEN
        RETURN greatest(1, ceil(1000 * least(600, p_soonest_seconds)));
    END IF;
    SELECT sum(worker.fn_owner_weight(l.owner)) INTO v_weights FROM (
        SELECT l.owner FROM worker.lines l
        WHERE l.provider = p_provider AND l.model = p_model AND l.key = p_key AND l.last_tag > p_passed
        LIMIT 1000) AS l;
    -- One that was passed over has a tag behind that of the last who passed.
    RETURN ceil(1000 * least(600, p_soonest_seconds + 1 + random()
                                  + 1.1 * greatest(0, p_tag - p_passed) * coalesce(v_weights, 1) / p_pace));
END $$;

-- Take from the buckets that a ticket passes, and call the next one of each line.
CREATE FUNCTION worker.fn_go(p_ticket uuid) RETURNS void
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off AS $$
DECLARE
    v_passage worker.passages;
    v_bucket worker.buckets;
    v_waiter worker.waiters;
BEGIN
    SELECT * INTO v_waiter FROM worker.waiters w WHERE w.ticket = p_ticket;
    FOR v_passage IN SELECT * FROM worker.passages a WHERE a.ticket = p_ticket ORDER BY a.model LOOP
        v_bucket := worker.fn_lock_bucket(v_passage.provider, v_passage.model, v_passage.key);
        v_bucket.requests := v_bucket.requests - 1;
        v_bucket.tokens := v_bucket.tokens - v_passage.tokens;
        v_bucket.under_way := v_bucket.under_way + 1;
        IF (v_waiter.provider, v_waiter.model, v_waiter.key) = (v_bucket.provider, v_bucket.model, v_bucket.key) THEN
            v_bucket.tag := greatest(v_bucket.tag, v_waiter.tag);
        END IF;
        PERFORM worker.fn_write_bucket(v_bucket);
        DELETE FROM worker.waiters w WHERE w.ticket = p_ticket;
        PERFORM worker.fn_call_when_there_is_room(v_passage.provider, v_passage.model, v_passage.key);
    END LOOP;
END $$;

-- Have the first of a bucket's line come when there may be room for it, and as many nodes as there is room for;
-- nothing where nobody waits.
CREATE FUNCTION worker.fn_call_when_there_is_room(p_provider text, p_model text, p_key text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_limit record;
    v_bucket record;
BEGIN
    WHILE (worker.fn_first_in_line(p_provider, p_model, p_key)).ticket IS NOT NULL LOOP
        SELECT * INTO v_limit FROM worker.fn_limits_of(p_provider, p_model, p_key) AS l WHERE l.model = p_model;
        EXIT WHEN NOT FOUND;
        SELECT * INTO v_bucket FROM worker.fn_fill_bucket(p_provider, p_model, p_key,
            v_limit.requests_per_minute, v_limit.tokens_per_minute, v_limit.concurrency, NULL, false);
        EXIT WHEN NOT worker.fn_call_next(p_provider, p_model, p_key, v_bucket.soonest_seconds);
    END LOOP;
END $$;

-- A call is over: give back what it did not take, and call the next one. p_calls is 0 when none was made,
-- p_tokens null when nobody knows what it took. A ticket's passage that was taken within p_held_seconds is another
-- one, which somebody took up who went on in the place of a worker that was silent.
CREATE FUNCTION worker.settle_passage(
    p_ticket uuid, p_calls integer DEFAULT 1, p_tokens double precision DEFAULT NULL,
    p_seconds double precision DEFAULT NULL, p_held_seconds double precision DEFAULT 0
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    -- It doesn't wait for the disk, as others wait for its bucket: what a crash undoes is settled when the message
    -- is acknowledged, or with what the call brought.
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM worker.fn_end_passages(p_ticket, p_calls, p_tokens, p_seconds, p_held_seconds);
END $$;

-- The same in a transaction that may wait for the disk.
CREATE FUNCTION worker.fn_end_passages(
    p_ticket uuid, p_calls integer, p_tokens double precision, p_seconds double precision,
    p_held_seconds double precision
) RETURNS void
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off AS $$
DECLARE
    v_passage worker.passages;
    v_bucket worker.buckets;
BEGIN
    FOR v_passage IN
        WITH over AS (
            -- No two clocks go equally fast.
            DELETE FROM worker.passages a
            WHERE a.ticket = p_ticket AND a.taken_at <= clock_timestamp() - 0.999 * p_held_seconds * interval '1 second'
            RETURNING a.*)
        SELECT * FROM over o ORDER BY o.model
    LOOP
        v_bucket := worker.fn_lock_bucket(v_passage.provider, v_passage.model, v_passage.key);
        CONTINUE WHEN v_bucket.key IS NULL;
        v_bucket.requests := v_bucket.requests + 1 - p_calls;
        v_bucket.tokens := v_bucket.tokens + v_passage.tokens
            - CASE WHEN p_calls = 0 THEN 0 ELSE coalesce(p_tokens, v_passage.tokens) END;
        v_bucket.most_tokens := coalesce(
            greatest(p_tokens / nullif(p_calls, 0), v_bucket.most_tokens * 0.95), v_bucket.most_tokens);
        v_bucket.mean_tokens := coalesce(
            v_bucket.mean_tokens * 0.9 + p_tokens / nullif(p_calls, 0) * 0.1, v_bucket.mean_tokens,
            p_tokens / nullif(p_calls, 0));
        v_bucket.seconds_per_call := coalesce(
            greatest(0.01, v_bucket.seconds_per_call * 0.9 + p_seconds * 0.1), v_bucket.seconds_per_call);
        v_bucket.under_way := greatest(0, v_bucket.under_way - 1);
        PERFORM worker.fn_write_bucket(v_bucket);
        PERFORM worker.fn_call_when_there_is_room(v_bucket.provider, v_bucket.model, v_bucket.key);
    END LOOP;
END $$;

-- Settle what is left of tickets that are done with: a worker may have died before it could, and a server that
-- crashed may have taken along that it did. There rarely is any.
CREATE FUNCTION worker.settle_leftovers(p_tickets uuid[], p_held_seconds double precision DEFAULT 0) RETURNS void
LANGUAGE plpgsql SET search_path = '' SET enable_seqscan = off SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_ticket uuid;
BEGIN
    -- In one order whoever settles several.
    FOR v_ticket IN
        SELECT a.ticket FROM worker.passages a WHERE a.ticket = ANY (p_tickets)
        GROUP BY a.ticket ORDER BY min(a.provider), min(a.model), min(a.key)
    LOOP
        PERFORM worker.fn_end_passages(v_ticket, 1, NULL, NULL, p_held_seconds);
    END LOOP;
END $$;

-- The passage that a job needs before it is claimed: 0 is go, else milliseconds to wait. `bound` tells whether
-- there is something to settle afterwards, `owner` whose budgets the call is under, if it is under any.
CREATE FUNCTION worker.fn_pass(
    p_kind worker.kinds, p_job uuid, p_ticket uuid, p_hold_seconds double precision,
    OUT wait_ms integer, OUT bound boolean, OUT owner text
) LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_provider text;
    v_model text;
    v_key text;
    v_owner text;
    v_budgets_exist boolean;
BEGIN
    wait_ms := 0;
    bound := p_kind.call IS NOT NULL AND p_job IS NOT NULL AND worker.fn_calls_are_bound();
    v_budgets_exist := p_kind.call IS NOT NULL AND p_job IS NOT NULL AND worker.fn_budgets_exist();
    IF NOT (bound OR v_budgets_exist) THEN
        RETURN;
    END IF;
    EXECUTE p_kind.call INTO v_provider, v_model, v_key, v_owner USING p_job;
    IF v_budgets_exist THEN
        owner := worker.fn_budgeted_owner(v_owner);
    END IF;
    bound := bound AND v_provider IS NOT NULL AND v_model IS NOT NULL;
    IF bound THEN
        wait_ms := worker.take_passage(p_ticket, v_provider, v_model, v_key, v_owner, p_hold_seconds);
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

-- Open a breaker where the window's calls and failures say so, each time in a row for twice as long; one that is
-- being tried opens again with p_try_failed.
CREATE FUNCTION worker.fn_open_breaker(
    p_provider text, p_model text, p_scope text, p_is_due boolean, p_try_failed boolean,
    p_open_seconds double precision, p_error_code text
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.breakers AS b (provider, model, scope, state, openings, opened_at, retry_at, error_code)
    SELECT p_provider, p_model, p_scope, 'open', 1, clock_timestamp(),
           clock_timestamp() + p_open_seconds * interval '1 second', p_error_code
    WHERE p_is_due OR p_try_failed AND EXISTS (
        SELECT FROM worker.breakers o WHERE o.provider = p_provider AND o.model = p_model AND o.scope = p_scope
            AND o.state = 'half_open')
    ON CONFLICT (provider, model, scope) DO UPDATE
    SET state = 'open', openings = b.openings + 1, opened_at = clock_timestamp(),
        retry_at = clock_timestamp() + least(600, p_open_seconds * 2 ^ least(b.openings, 10)) * interval '1 second',
        error_code = excluded.error_code
    WHERE b.state <> 'open'
$$;

-- A call came through: close the breakers that it tried, and forget what opened them.
CREATE FUNCTION worker.fn_close_breakers(p_provider text, p_model text, p_key text, p_owner text) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_scope text;
BEGIN
    FOR v_scope IN
        UPDATE worker.breakers b
        SET state = 'closed', openings = 0, opened_at = NULL, retry_at = NULL, error_code = NULL
        WHERE b.provider = p_provider AND b.model = p_model AND b.state = 'half_open'
          AND b.scope IN ('*', worker.fn_breaker_scope(p_key, p_owner))
        RETURNING b.scope
    LOOP
        DELETE FROM worker.call_counts c
        WHERE c.provider = p_provider AND c.model = p_model
          AND v_scope IN ('*', worker.fn_breaker_scope(c.key, c.owner));
    END LOOP;
END $$;

-- Take in what calls came to: [{provider, model, key, owner, calls, failures, error_code}]. A breaker opens when at
-- least p_min_calls of the window were made and p_failure_rate of them failed: one person's by that person's calls.
-- Everybody's counts at most half of p_min_calls of each owner, so that it takes several to open it.
CREATE FUNCTION worker.record_calls(
    p_calls jsonb, p_window_seconds double precision, p_min_calls integer, p_failure_rate double precision,
    p_open_seconds double precision
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_told record;
    v_window record;
    v_most double precision := greatest(1, p_min_calls / 2.0);
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR v_told IN
        SELECT c.* FROM jsonb_to_recordset(p_calls) AS c (
            provider text, model text, key text, owner text, calls integer, failures integer, error_code text)
        ORDER BY c.provider, c.model, c.key, c.owner
    LOOP
        INSERT INTO worker.call_counts AS c (provider, model, key, owner, slot, calls, failures)
        VALUES (v_told.provider, v_told.model, v_told.key, v_told.owner,
                date_bin('5 seconds', clock_timestamp(), '2000-01-01'), v_told.calls, v_told.failures)
        ON CONFLICT (provider, model, key, owner, slot) DO UPDATE
        SET calls = c.calls + excluded.calls, failures = c.failures + excluded.failures;
        IF v_told.failures < v_told.calls THEN
            PERFORM worker.fn_close_breakers(v_told.provider, v_told.model, v_told.key, v_told.owner);
        END IF;
        CONTINUE WHEN v_told.failures = 0;
        WITH counted AS (
            SELECT c.key, c.owner, sum(c.calls) AS calls, sum(c.failures) AS failures FROM worker.call_counts c
            WHERE c.provider = v_told.provider AND c.model = v_told.model
              AND c.slot > clock_timestamp() - p_window_seconds * interval '1 second'
            GROUP BY c.key, c.owner
        ), owners AS (
            SELECT sum(c.calls) AS calls, sum(c.failures) / sum(c.calls)::double precision AS rate FROM counted c
            GROUP BY coalesce(nullif(c.owner, ''), c.key)
        )
        SELECT own.calls, own.failures,
               coalesce((SELECT sum(least(o.calls, v_most)) FROM owners o), 0) AS all_calls,
               coalesce((SELECT sum(least(o.calls, v_most) * o.rate) FROM owners o), 0) AS all_failures
        INTO v_window
        FROM (SELECT coalesce(sum(c.calls), 0) AS calls, coalesce(sum(c.failures), 0) AS failures FROM counted c
              WHERE worker.fn_breaker_scope(c.key, c.owner) = worker.fn_breaker_scope(v_told.key, v_told.owner)) AS own;
        PERFORM worker.fn_open_breaker(
            v_told.provider, v_told.model, scope.name, scope.calls >= p_min_calls AND
            scope.failures >= p_failure_rate * scope.calls, v_told.failures = v_told.calls, p_open_seconds,
            v_told.error_code)
        FROM (VALUES (worker.fn_breaker_scope(v_told.key, v_told.owner), v_window.calls, v_window.failures),
                     ('*', v_window.all_calls, v_window.all_failures)) AS scope (name, calls, failures);
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
    INSERT INTO worker.learnt_limits AS l (provider, model, key, requests_per_minute, tokens_per_minute)
    SELECT worker.fn_provider_name(p_provider), p_model, p_key, p_requests_per_minute, p_tokens_per_minute
    WHERE num_nonnulls(p_requests_per_minute, p_tokens_per_minute) > 0
    ON CONFLICT (provider, model, key) DO UPDATE
    SET requests_per_minute = coalesce(excluded.requests_per_minute, l.requests_per_minute),
        tokens_per_minute = coalesce(excluded.tokens_per_minute, l.tokens_per_minute), learnt_at = now()
$$;

-- Make the limits of the settings the ones in force: [{provider, model, requests_per_minute, …}]. A provider that is
-- there by several of its names gets the lowest of each.
CREATE FUNCTION worker.set_limits(p_limits jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    DELETE FROM worker.provider_limits l
    WHERE l.source = 'settings' AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(p_limits) AS n (provider text, model text)
        WHERE worker.fn_provider_name(n.provider) = l.provider AND n.model = l.model);
    INSERT INTO worker.provider_limits AS l (
        provider, model, requests_per_minute, tokens_per_minute, concurrency, source)
    SELECT worker.fn_provider_name(n.provider), n.model, min(n.requests_per_minute), min(n.tokens_per_minute),
           min(n.concurrency), 'settings'
    FROM jsonb_to_recordset(p_limits) AS n (
        provider text, model text, requests_per_minute double precision, tokens_per_minute double precision,
        concurrency integer)
    GROUP BY 1, 2
    ON CONFLICT (provider, model) DO UPDATE
    SET requests_per_minute = excluded.requests_per_minute, tokens_per_minute = excluded.tokens_per_minute,
        concurrency = excluded.concurrency, changed_at = now()
    WHERE l.source = 'settings';
END $$;

-- Delete what the past left: a batch is small since all of this is.
CREATE FUNCTION worker.prune_limits() RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_ticket uuid;
    v_deleted integer := 0;
    v_count integer;
BEGIN
    DELETE FROM worker.waiters w
    WHERE w.since < now() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM dramatiq.queue q WHERE q.message_id = w.ticket AND q.state IN ('queued', 'consumed'));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_deleted := v_deleted + v_count;
    FOR v_ticket IN
        SELECT DISTINCT a.ticket FROM worker.passages a
        WHERE a.expires_at < now() OR EXISTS (
            -- Its worker died between the end of the job and that of the passage.
            SELECT FROM worker.claims c WHERE c.message_id = a.ticket AND c.finished_at < now() - interval '1 minute')
    LOOP
        PERFORM worker.settle_passage(v_ticket);
        v_deleted := v_deleted + 1;
    END LOOP;
    DELETE FROM worker.lines l
    WHERE l.changed_at < now() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM worker.waiters w WHERE w.provider = l.provider AND w.model = l.model
                      AND w.key = l.key AND w.owner = l.owner);
    -- A bucket that nobody used for a day is full again, or has limits that may have changed since.
    DELETE FROM worker.buckets b
    WHERE b.filled_at < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM worker.passages a WHERE a.provider = b.provider AND a.model = b.model AND a.key = b.key)
      AND NOT EXISTS (SELECT FROM worker.waiters w WHERE w.provider = b.provider AND w.model = b.model AND w.key = b.key);
    DELETE FROM worker.learnt_limits l
    WHERE l.learnt_at < now() - interval '1 day'
      AND NOT EXISTS (SELECT FROM worker.buckets b WHERE b.provider = l.provider AND b.model = l.model AND b.key = l.key);
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
    SELECT b.provider, b.model, nullif(b.scope, '*'), 'breaker ' || replace(b.state, '_', ' '), NULL,
           greatest(0, extract(epoch FROM b.retry_at - now())), b.error_code
    FROM worker.breakers b WHERE b.state <> 'closed';
COMMENT ON VIEW worker.hindrances IS 'What keeps calls to AI providers waiting.';

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
