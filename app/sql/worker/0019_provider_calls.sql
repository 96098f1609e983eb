-- Calls to AI providers: who was asked for which job, how long it took, what it used and how it ended.

CREATE TABLE worker.provider_calls (
    ended_at timestamptz NOT NULL,
    kind text NOT NULL,
    job uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    purpose text NOT NULL CHECK (purpose IN (
        'answer',  -- a text was asked for
        'order',   -- a medium was asked for
        'poll'     -- how far an ordered medium is
    )),
    duration_ms integer NOT NULL,
    tokens_in integer NOT NULL DEFAULT 0,
    tokens_out integer NOT NULL DEFAULT 0,
    error_code text,
    -- of tokens_in: what the provider's cache had, and what it was given
    tokens_cached integer NOT NULL DEFAULT 0,
    tokens_cache_write integer NOT NULL DEFAULT 0,
    -- of tokens_out
    tokens_reasoning integer NOT NULL DEFAULT 0,
    -- media that were bought, and how long they are together
    units integer NOT NULL DEFAULT 0,
    seconds numeric,
    -- at the price of the time it ended; null where there was none, or nobody told what the call took
    cost_usd numeric
);

CREATE INDEX provider_calls_ended ON worker.provider_calls (ended_at);
CREATE INDEX provider_calls_job ON worker.provider_calls (job);

-- Write down the calls that were made for a claim's job: objects with the columns' names and, in place of the
-- time, age_ms. In plpgsql, which keeps its plan for the session.
CREATE FUNCTION worker.note_calls(p_message_id uuid, p_calls jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO worker.provider_calls (
        ended_at, kind, job, provider, model, purpose, duration_ms, tokens_in, tokens_out, error_code,
        tokens_cached, tokens_cache_write, tokens_reasoning, units, seconds, cost_usd)
    SELECT t.ended_at, c.kind, c.job, x.provider, x.model, x.purpose, x.duration_ms, x.tokens_in, x.tokens_out,
           x.error_code, x.tokens_cached, x.tokens_cache_write, x.tokens_reasoning, x.units, x.seconds,
           CASE WHEN x.tokens_in > 0 OR x.tokens_out > 0 OR x.units > 0 THEN worker.fn_call_cost_usd(
               x.provider, x.model, t.ended_at, x.tokens_in, x.tokens_cached, x.tokens_cache_write,
               x.tokens_out, x.tokens_reasoning, x.units, x.seconds) END
    FROM jsonb_to_recordset(p_calls) AS x (
        provider text, model text, purpose text, age_ms bigint, duration_ms integer, tokens_in integer,
        tokens_out integer, error_code text, tokens_cached integer, tokens_cache_write integer,
        tokens_reasoning integer, units integer, seconds numeric)
    CROSS JOIN LATERAL (
        SELECT clock_timestamp() - x.age_ms * interval '1 millisecond' AS ended_at OFFSET 0) AS t
    JOIN worker.claims c ON c.message_id = p_message_id;
    IF p_calls @? '$[*].hold' THEN
        PERFORM worker.settle_holds(p_calls);
    END IF;
    -- Each was settled when its call was over; what a crash of the server undid since is settled for good.
    IF p_calls @? '$[*].passage' THEN
        PERFORM worker.settle_leftovers(ARRAY[x.passage], (x.age_ms + x.duration_ms) * 0.001)
        FROM jsonb_to_recordset(p_calls) AS x (passage uuid, age_ms bigint, duration_ms integer)
        WHERE x.passage IS NOT NULL;
    END IF;
END $$;

-- Each provider that was called in the last hour. Latency is of calls that succeeded; polls, which only ask
-- how far something is, count as calls and not for the latency.
CREATE FUNCTION worker.provider_status() RETURNS TABLE (
    provider text, calls_last_hour bigint, errors_last_hour bigint, error_rate double precision,
    latency_p50_ms double precision, latency_p99_ms double precision, most_frequent_error text,
    cost_last_hour_usd numeric
)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT c.provider, count(*), count(c.error_code),
           count(c.error_code)::double precision / count(*),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY c.duration_ms)
               FILTER (WHERE c.error_code IS NULL AND c.purpose <> 'poll'),
           percentile_cont(0.99) WITHIN GROUP (ORDER BY c.duration_ms)
               FILTER (WHERE c.error_code IS NULL AND c.purpose <> 'poll'),
           mode() WITHIN GROUP (ORDER BY c.error_code), sum(c.cost_usd)
    FROM worker.provider_calls c WHERE c.ended_at > now() - interval '1 hour'
    GROUP BY c.provider ORDER BY c.provider
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
