-- Budgets of owners: what their calls to AI providers may cost in a period. Before a call goes out, the most that
-- it can cost is held; what it did cost is known with its result. So no period ever costs more than its budget.

CREATE TABLE worker.budgets (
    -- a lenser's id; '*': each owner who has no budget of its own
    owner text NOT NULL CHECK (owner <> ''),
    -- of UTC; a call counts in the one in which it goes out
    period text NOT NULL CHECK (period IN ('day', 'month', 'total')),
    limit_usd worker.usd NOT NULL,
    -- whether calls count that the owner pays with a stored key, beside those that the platform pays
    includes_own_keys boolean NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, period)
);

-- What owners with budgets have spent, by day. The row of the day '-infinity' is the sum of all days, and is
-- locked by whoever lets a call of its owner go.
CREATE TABLE worker.budget_spending (
    owner text NOT NULL,
    day date NOT NULL,
    spent_usd numeric NOT NULL DEFAULT 0,
    spent_with_own_keys_usd numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (owner, day)
) WITH (fillfactor = 70);

-- Calls that went out and are not in budget_spending yet.
CREATE TABLE worker.budget_holds (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    day date NOT NULL,
    -- the message or the node that calls
    ticket uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    with_own_key boolean NOT NULL,
    -- the most that the call can cost; what it did cost once it is settled
    usd worker.usd NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- from here on nobody is expected to tell what the call cost: it counts as spent, all of it
    expires_at timestamptz NOT NULL,
    settled_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX budget_holds_owner ON worker.budget_holds (owner, day);

-- Whether anybody has a budget; asked with every claim, so it is in plpgsql, which keeps its plan.
CREATE FUNCTION worker.fn_budgets_exist() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN EXISTS (SELECT FROM worker.budgets);
END $$;

-- The budgets that an owner's calls are under. Nobody's calls are under none.
CREATE FUNCTION worker.fn_budgets_of(p_owner text) RETURNS SETOF worker.budgets
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN QUERY SELECT b.* FROM worker.budgets b
    WHERE p_owner <> '' AND b.owner = CASE
        WHEN EXISTS (SELECT FROM worker.budgets o WHERE o.owner = p_owner) THEN p_owner ELSE '*' END;
END $$;

-- The owner if its calls are under a budget, else null.
CREATE FUNCTION worker.fn_budgeted_owner(p_owner text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN CASE WHEN p_owner <> '' AND EXISTS (SELECT FROM worker.budgets b WHERE b.owner IN (p_owner, '*'))
                THEN p_owner END;
END $$;

-- The most that a call can cost which takes no more than this, by any rule of worker.fn_call_cost_usd; null where
-- no price is known.
CREATE FUNCTION worker.fn_most_call_cost_usd(
    p_provider text, p_model text, p_at timestamptz, p_tokens_in bigint, p_tokens_out bigint, p_units numeric,
    p_seconds numeric
) RETURNS numeric
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_price worker.model_prices := worker.fn_price_at(p_provider, p_model, p_at);
    v_tokens numeric;
    v_media numeric;
BEGIN
    v_tokens := 0.000001 * (
        p_tokens_in * greatest(v_price.usd_per_million_input, v_price.usd_per_million_cached_input,
                               v_price.usd_per_million_cache_write)
        + p_tokens_out * CASE WHEN p_tokens_out = 0 THEN 0 ELSE
            greatest(v_price.usd_per_million_output, v_price.usd_per_million_reasoning) END);
    IF p_units = 0 THEN
        RETURN v_tokens;
    END IF;
    IF num_nonnulls(v_price.usd_per_image, v_price.usd_per_request, v_price.usd_per_second) > 0 THEN
        v_media := p_units * (coalesce(v_price.usd_per_image, 0) + coalesce(v_price.usd_per_request, 0))
                   + p_seconds * coalesce(v_price.usd_per_second, 0);
    END IF;
    RETURN coalesce(v_tokens + v_media, v_tokens, v_media);
END $$;

-- Each budget of an owner with what is spent of it in the period that a day is in, and what is held. What
-- earlier calls of p_ticket held is spent: it comes again, so nobody will tell what they cost.
CREATE FUNCTION worker.fn_budget_use(p_owner text, p_day date, p_ticket uuid DEFAULT NULL) RETURNS TABLE (
    period text, limit_usd numeric, includes_own_keys boolean, spent_usd numeric, held_usd numeric,
    -- of the oldest call that is held for
    held_since timestamptz,
    -- null: never
    ends_at timestamptz
)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN QUERY SELECT b.period, b.limit_usd::numeric, b.includes_own_keys, s.usd + h.spent, h.held, h.since, w.ends_at
    FROM worker.fn_budgets_of(p_owner) AS b
    CROSS JOIN LATERAL (
        SELECT CASE b.period WHEN 'day' THEN p_day WHEN 'month' THEN date_trunc('month', p_day)::date
                             ELSE '-infinity' END AS first_day,
               CASE b.period WHEN 'total' THEN date '-infinity' ELSE 'infinity' END AS last_day,
               CASE b.period WHEN 'day' THEN (p_day + 1)::timestamp AT TIME ZONE 'UTC'
                             WHEN 'month' THEN (date_trunc('month', p_day) + interval '1 month') AT TIME ZONE 'UTC'
                             END AS ends_at) AS w
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(d.spent_usd + CASE WHEN b.includes_own_keys THEN d.spent_with_own_keys_usd ELSE 0 END), 0)
               AS usd
        FROM worker.budget_spending d WHERE d.owner = p_owner AND d.day BETWEEN w.first_day AND w.last_day) AS s
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.usd) FILTER (WHERE NOT c.is_held), 0) AS spent,
               coalesce(sum(c.usd) FILTER (WHERE c.is_held), 0) AS held,
               min(c.taken_at) FILTER (WHERE c.is_held) AS since
        FROM (SELECT o.usd, o.taken_at,
                     o.settled_at IS NULL AND o.expires_at > clock_timestamp()
                     AND o.ticket IS DISTINCT FROM p_ticket AS is_held
              FROM worker.budget_holds o
              WHERE o.owner = p_owner AND o.day >= w.first_day
                AND (b.includes_own_keys OR NOT o.with_own_key)) AS c) AS h;
END $$;

-- Bring what an owner's settled calls cost to where sums are kept, if those are enough to be worth it. The caller
-- has locked the owner's spending. A call of which nobody told is given a day: its word may come late.
CREATE FUNCTION worker.fn_fold_holds(p_owner text, p_at_least integer) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_ids uuid[] := ARRAY(
        SELECT h.id FROM worker.budget_holds h
        WHERE h.owner = p_owner AND (h.settled_at IS NOT NULL OR h.expires_at < now() - interval '1 day')
        LIMIT 1000 FOR UPDATE SKIP LOCKED);
BEGIN
    IF cardinality(v_ids) < p_at_least THEN
        RETURN 0;
    END IF;
    WITH folded AS (DELETE FROM worker.budget_holds h WHERE h.id = ANY (v_ids) RETURNING h.*)
    INSERT INTO worker.budget_spending AS s (owner, day, spent_usd, spent_with_own_keys_usd)
    SELECT p_owner, d.day, coalesce(sum(f.usd) FILTER (WHERE NOT f.with_own_key), 0),
           coalesce(sum(f.usd) FILTER (WHERE f.with_own_key), 0)
    FROM folded f CROSS JOIN LATERAL (VALUES (f.day), ('-infinity')) AS d (day) GROUP BY d.day
    ON CONFLICT (owner, day) DO UPDATE
    SET spent_usd = s.spent_usd + excluded.spent_usd,
        spent_with_own_keys_usd = s.spent_with_own_keys_usd + excluded.spent_with_own_keys_usd;
    RETURN cardinality(v_ids);
END $$;

-- Hold the most that a call can cost against the budgets of its owner, or say why it may not go out:
-- held | free (it costs nothing that counts) | no_price | wait (it may fit when what is held is settled: come back
-- in wait_ms) | exceeded (period, limit_usd, left_usd and ends_at tell of the budget).
-- Asked again with the same p_hold, it holds once. Owners don't wait for each other, and who settles waits for
-- nobody: the owner's spending is locked for this statement only.
CREATE FUNCTION worker.hold_budget(
    p_hold uuid, p_owner text, p_ticket uuid, p_with_own_key boolean, p_provider text, p_model text,
    p_tokens_in bigint, p_tokens_out bigint, p_units numeric, p_seconds numeric, p_hold_seconds double precision,
    OUT verdict text, OUT usd numeric, OUT wait_ms integer, OUT period text, OUT limit_usd numeric,
    OUT left_usd numeric, OUT ends_at timestamptz
) LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_now timestamptz;
    v_expires_at timestamptz;
    v_day date;
    v_budget record;
BEGIN
    IF NOT EXISTS (SELECT FROM worker.fn_budgets_of(p_owner) b WHERE b.includes_own_keys OR NOT p_with_own_key) THEN
        verdict := 'free';
        RETURN;
    END IF;
    LOOP
        PERFORM FROM worker.budget_spending s WHERE s.owner = p_owner AND s.day = '-infinity' FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO worker.budget_spending (owner, day) VALUES (p_owner, '-infinity') ON CONFLICT DO NOTHING;
    END LOOP;
    v_now := clock_timestamp();
    v_day := (v_now AT TIME ZONE 'UTC')::date;
    v_expires_at := v_now + p_hold_seconds * interval '1 second';
    -- A price may change while the call is under way.
    usd := greatest(
        worker.fn_most_call_cost_usd(p_provider, p_model, v_now, p_tokens_in, p_tokens_out, p_units, p_seconds),
        worker.fn_most_call_cost_usd(p_provider, p_model, v_expires_at, p_tokens_in, p_tokens_out, p_units, p_seconds));
    verdict := CASE WHEN usd IS NULL THEN 'no_price' WHEN usd = 0 THEN 'free'
                    WHEN EXISTS (SELECT FROM worker.budget_holds h WHERE h.id = p_hold) THEN 'held' END;
    IF verdict IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM worker.fn_fold_holds(p_owner, 32);
    FOR v_budget IN
        SELECT u.* FROM worker.fn_budget_use(p_owner, v_day, p_ticket) AS u
        WHERE u.includes_own_keys OR NOT p_with_own_key
        ORDER BY u.ends_at DESC NULLS FIRST
    LOOP
        IF v_budget.spent_usd + usd > v_budget.limit_usd THEN
            verdict := 'exceeded';
            period := v_budget.period;
            limit_usd := v_budget.limit_usd;
            left_usd := greatest(0, v_budget.limit_usd - v_budget.spent_usd);
            ends_at := v_budget.ends_at;
            RETURN;
        ELSIF v_budget.spent_usd + v_budget.held_usd + usd > v_budget.limit_usd THEN
            verdict := 'wait';
            -- What is under way for long may well be so for as long again.
            wait_ms := greatest(coalesce(wait_ms, 0), 1000 * (0.75 + random() / 2)
                * least(30, greatest(0.5, extract(epoch FROM v_now - v_budget.held_since))));
        END IF;
    END LOOP;
    IF verdict = 'wait' THEN
        RETURN;
    END IF;
    INSERT INTO worker.budget_holds (
        id, owner, day, ticket, provider, model, with_own_key, usd, taken_at, expires_at)
    VALUES (p_hold, p_owner, v_day, p_ticket, p_provider, p_model, p_with_own_key, usd, v_now, v_expires_at);
    verdict := 'held';
END $$;

-- Put what calls did cost in place of what was held for them; worker.note_calls has their form. One that failed
-- without being taken costs nothing. One of which nobody knows what it took costs all that was held.
CREATE FUNCTION worker.settle_holds(p_calls jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_call record;
BEGIN
    -- In one order whoever settles, and each by the index: there are few, but the table may have many.
    FOR v_call IN
        SELECT x.hold, CASE WHEN x.is_free THEN 0 WHEN x.tokens_in > 0 OR x.tokens_out > 0 OR x.units > 0
               THEN worker.fn_call_cost_usd(
                   x.provider, x.model, clock_timestamp() - x.age_ms * interval '1 millisecond', x.tokens_in,
                   x.tokens_cached, x.tokens_cache_write, x.tokens_out, x.tokens_reasoning, x.units, x.seconds)
               END AS usd
        FROM jsonb_to_recordset(p_calls) AS x (
            hold uuid, is_free boolean, provider text, model text, age_ms bigint, tokens_in integer,
            tokens_out integer, tokens_cached integer, tokens_cache_write integer, tokens_reasoning integer,
            units integer, seconds numeric)
        WHERE x.hold IS NOT NULL ORDER BY x.hold
    LOOP
        UPDATE worker.budget_holds h SET usd = coalesce(v_call.usd, h.usd), settled_at = clock_timestamp()
        WHERE h.id = v_call.hold AND h.settled_at IS NULL;
    END LOOP;
END $$;

-- Bring sums up to date and forget what no budget looks at any more, a few owners at a time; the rows that went.
CREATE FUNCTION worker.prune_budgets(p_owners integer DEFAULT 100) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_owner text;
    v_folded integer := 0;
    v_deleted integer;
BEGIN
    FOR v_owner IN
        SELECT s.owner FROM worker.budget_spending s
        WHERE s.day = '-infinity' AND EXISTS (
            SELECT FROM worker.budget_holds h WHERE h.owner = s.owner AND (
                h.settled_at < now() - interval '1 minute' OR h.expires_at < now() - interval '1 day'))
        ORDER BY s.owner LIMIT p_owners FOR UPDATE SKIP LOCKED
    LOOP
        v_folded := v_folded + worker.fn_fold_holds(v_owner, 1);
    END LOOP;
    DELETE FROM worker.budget_spending s WHERE s.ctid = ANY (ARRAY(
        SELECT o.ctid FROM worker.budget_spending o
        WHERE o.day > '-infinity' AND o.day < (now() AT TIME ZONE 'UTC')::date - 62
        LIMIT 1000 FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    -- The sum of one who has no budget any more, and has spent nothing for two months.
    DELETE FROM worker.budget_spending s WHERE s.ctid = ANY (ARRAY(
        SELECT o.ctid FROM worker.budget_spending o
        WHERE o.day = '-infinity' AND worker.fn_budgeted_owner(o.owner) IS NULL
          AND NOT EXISTS (SELECT FROM worker.budget_spending d WHERE d.owner = o.owner AND d.day > '-infinity')
          AND NOT EXISTS (SELECT FROM worker.budget_holds h WHERE h.owner = o.owner)
        LIMIT 1000 FOR UPDATE SKIP LOCKED));
    RETURN v_folded + v_deleted;
END $$;

-- A person gives an owner a budget, or takes it away. In force with the next call.
CREATE FUNCTION worker.set_budget(
    p_owner text, p_period text, p_limit_usd numeric, p_includes_own_keys boolean DEFAULT false
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.budgets AS b (owner, period, limit_usd, includes_own_keys)
    VALUES (p_owner, p_period, p_limit_usd, p_includes_own_keys)
    ON CONFLICT (owner, period) DO UPDATE
    SET limit_usd = excluded.limit_usd, includes_own_keys = excluded.includes_own_keys, changed_at = now()
$$;

CREATE FUNCTION worker.unset_budget(p_owner text, p_period text) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_gone integer;
BEGIN
    DELETE FROM worker.budgets b WHERE b.owner = p_owner AND b.period = coalesce(p_period, b.period);
    GET DIAGNOSTICS v_gone = ROW_COUNT;
    RETURN v_gone;
END $$;

-- Every budget with what is spent, held and left of it now: those of owners by name, and that for all others for
-- each of them who has spent anything.
CREATE FUNCTION worker.budget_status() RETURNS TABLE (
    owner text, period text, limit_usd numeric, includes_own_keys boolean, spent_usd numeric, held_usd numeric,
    left_usd numeric, resets_at timestamptz, is_default boolean
)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT o.owner, u.period, u.limit_usd, u.includes_own_keys, u.spent_usd, u.held_usd,
           greatest(0, u.limit_usd - u.spent_usd - u.held_usd), u.ends_at, o.is_default
    FROM (SELECT DISTINCT b.owner, false AS is_default FROM worker.budgets b
          UNION ALL
          SELECT s.owner, true FROM worker.budget_spending s
          WHERE s.day = '-infinity' AND EXISTS (SELECT FROM worker.budgets d WHERE d.owner = '*')
            AND NOT EXISTS (SELECT FROM worker.budgets b WHERE b.owner = s.owner)) AS o
    CROSS JOIN LATERAL worker.fn_budget_use(o.owner, (now() AT TIME ZONE 'UTC')::date) AS u
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
