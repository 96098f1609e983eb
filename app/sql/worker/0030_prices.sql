-- What calls to AI providers cost, in US dollars.

-- No NaN and no infinity, which numeric takes for more than 0.
CREATE DOMAIN worker.usd AS numeric CHECK (VALUE >= 0 AND VALUE < 'Infinity');

-- Prices of models by the platform's keys, each from its day until the next row's; null is a price that nobody
-- knows. The model '*' stands for those of a provider that have no rows of their own.
CREATE TABLE worker.model_prices (
    provider text NOT NULL,
    model text NOT NULL,
    valid_from timestamptz NOT NULL CHECK (isfinite(valid_from)),
    usd_per_million_input worker.usd,
    -- those that the provider read from its cache or wrote to it; as input where null
    usd_per_million_cached_input worker.usd,
    usd_per_million_cache_write worker.usd,
    usd_per_million_output worker.usd,
    -- as output where null
    usd_per_million_reasoning worker.usd,
    usd_per_image worker.usd,
    usd_per_second worker.usd,
    usd_per_request worker.usd,
    -- where the price is from; 'list' is the worker's own
    source text NOT NULL,
    PRIMARY KEY (provider, model, valid_from),
    CHECK (num_nonnulls(usd_per_million_input, usd_per_million_output, usd_per_image, usd_per_second,
                        usd_per_request) > 0)
);

-- The price of a model at a time, or null; in plpgsql, which keeps its plans for the session.
CREATE FUNCTION worker.fn_price_at(p_provider text, p_model text, p_at timestamptz) RETURNS worker.model_prices
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_price worker.model_prices;
BEGIN
    SELECT * INTO v_price FROM worker.model_prices p
    WHERE p.provider = p_provider AND p.model = p_model AND p.valid_from <= p_at
    ORDER BY p.valid_from DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT * INTO v_price FROM worker.model_prices p
        WHERE p.provider = worker.fn_provider_name(p_provider) AND p.model IN (p_model, '*')
          AND p.valid_from <= p_at
        ORDER BY p.model = '*', p.valid_from DESC LIMIT 1;
    END IF;
    RETURN v_price;
END $$;

-- All prices that hold at a time.
CREATE FUNCTION worker.prices_at(p_at timestamptz) RETURNS SETOF worker.model_prices
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT DISTINCT ON (p.provider, p.model) p.*
    FROM worker.model_prices p WHERE p.valid_from <= p_at
    ORDER BY p.provider, p.model, p.valid_from DESC
$$;

-- Take in prices, objects with the columns' names, in place of what the table says of the same model and time.
CREATE FUNCTION worker.import_prices(p_prices jsonb) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_count integer;
BEGIN
    -- Two who import the same don't meet half way; whoever reads prices waits for nobody.
    LOCK TABLE worker.model_prices IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM worker.model_prices p
    USING jsonb_populate_recordset(NULL::worker.model_prices, p_prices) AS n
    WHERE p.provider = worker.fn_provider_name(n.provider) AND p.model = n.model AND p.valid_from = n.valid_from;
    INSERT INTO worker.model_prices
    SELECT worker.fn_provider_name(n.provider), n.model, n.valid_from, n.usd_per_million_input,
           n.usd_per_million_cached_input, n.usd_per_million_cache_write, n.usd_per_million_output,
           n.usd_per_million_reasoning, n.usd_per_image, n.usd_per_second, n.usd_per_request, n.source
    FROM jsonb_populate_recordset(NULL::worker.model_prices, p_prices) AS n;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- What a call that ended at p_at cost; null where that isn't known, which is not 0. Of p_tokens_in so many were
-- read from the provider's cache or written to it, of p_tokens_out so many were reasoning. p_units are the media
-- or requests, p_seconds how long the media are together. Where a call took both, tokens and media, and only one
-- of them has a price, the other comes with it.
CREATE FUNCTION worker.fn_call_cost_usd(
    p_provider text, p_model text, p_at timestamptz, p_tokens_in integer, p_tokens_cached integer,
    p_tokens_cache_write integer, p_tokens_out integer, p_tokens_reasoning integer, p_units numeric DEFAULT 0,
    p_seconds numeric DEFAULT NULL
) RETURNS numeric
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_price worker.model_prices := worker.fn_price_at(p_provider, p_model, p_at);
    v_cached integer := least(p_tokens_cached, p_tokens_in);
    v_written integer := least(p_tokens_cache_write, p_tokens_in - v_cached);
    v_reasoned integer := least(p_tokens_reasoning, p_tokens_out);
    v_tokens numeric := 0;
    v_media numeric := 0;
BEGIN
    IF v_price.provider IS NULL THEN
        RETURN NULL;
    END IF;
    IF p_tokens_in > 0 THEN
        v_tokens := 0.000001 * (
            (p_tokens_in - v_cached - v_written) * v_price.usd_per_million_input
            + v_cached * coalesce(v_price.usd_per_million_cached_input, v_price.usd_per_million_input)
            + v_written * coalesce(v_price.usd_per_million_cache_write, v_price.usd_per_million_input));
    END IF;
    IF p_tokens_out > 0 THEN
        v_tokens := v_tokens + 0.000001 * (
            (p_tokens_out - v_reasoned) * v_price.usd_per_million_output
            + v_reasoned * coalesce(v_price.usd_per_million_reasoning, v_price.usd_per_million_output));
    END IF;
    IF p_units > 0 THEN
        IF v_price.usd_per_second IS NOT NULL AND p_seconds IS NULL THEN
            RETURN NULL;
        END IF;
        v_media := CASE
            WHEN num_nonnulls(v_price.usd_per_image, v_price.usd_per_request, v_price.usd_per_second) > 0 THEN
                p_units * (coalesce(v_price.usd_per_image, 0) + coalesce(v_price.usd_per_request, 0))
                + coalesce(p_seconds * v_price.usd_per_second, 0) END;
        IF p_tokens_in > 0 OR p_tokens_out > 0 THEN
            RETURN coalesce(v_tokens + v_media, v_tokens, v_media);
        END IF;
    END IF;
    RETURN v_tokens + v_media;
END $$;

-- Models that were called since then for something that nobody has a price for to this day.
CREATE FUNCTION worker.unpriced_models(p_since timestamptz) RETURNS TABLE (provider text, model text, calls bigint)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT c.provider, c.model, count(*)
    FROM worker.provider_calls c
    WHERE c.ended_at > p_since AND c.cost_usd IS NULL AND (c.tokens_in > 0 OR c.tokens_out > 0 OR c.units > 0)
    GROUP BY c.provider, c.model
    HAVING worker.fn_call_cost_usd(c.provider, c.model, now(), max(c.tokens_in), 0, 0, max(c.tokens_out), 0,
                                   max(c.units), max(c.seconds)) IS NULL
    ORDER BY count(*) DESC, c.provider, c.model
$$;

-- What all calls for a job have cost so far, as far as it is known; null where nothing is.
CREATE FUNCTION worker.fn_job_cost_usd(p_job uuid) RETURNS numeric
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN (SELECT trim_scale(sum(c.cost_usd)) FROM worker.provider_calls c WHERE c.job = p_job);
END $$;

-- Credits for so many dollars, rounded up; none without a rate, or where nobody knows the cost.
CREATE FUNCTION worker.fn_credits(p_usd numeric, p_credits_per_usd numeric) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT coalesce(ceil(p_usd * p_credits_per_usd), 0)::bigint
$$;

-- The same for calls as worker.note_calls takes them, before they are written down.
CREATE FUNCTION worker.fn_credits_for_calls(p_calls jsonb, p_credits_per_usd numeric) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT worker.fn_credits(sum(worker.fn_call_cost_usd(
        c.provider, c.model, now(), c.tokens_in, c.tokens_cached, c.tokens_cache_write, c.tokens_out,
        c.tokens_reasoning, c.units, c.seconds)), p_credits_per_usd)
    FROM jsonb_to_recordset(p_calls) AS c (
        provider text, model text, tokens_in integer, tokens_cached integer, tokens_cache_write integer,
        tokens_out integer, tokens_reasoning integer, units integer, seconds numeric)
$$;

-- Write down with a lens run what it has cost, and say it.
CREATE FUNCTION worker.note_run_cost(p_run_id uuid) RETURNS numeric
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_cost numeric := worker.fn_job_cost_usd(p_run_id);
BEGIN
    IF v_cost IS NOT NULL THEN
        UPDATE execution.runs r SET cost_estimate = v_cost WHERE r.id = p_run_id;
    END IF;
    RETURN v_cost;
END $$;

-- Credits for a lens run's cost: none where the platform doesn't pay for it.
CREATE FUNCTION worker.fn_run_credits(p_run_id uuid, p_usd numeric, p_credits_per_usd numeric) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    IF p_credits_per_usd IS NULL OR p_usd IS NULL THEN
        RETURN 0;
    END IF;
    -- A stored key wins, whatever the funding says.
    RETURN (SELECT CASE WHEN q.funding_source = 'platform_credit' AND q.byok_key_ref_id IS NULL
                        THEN worker.fn_credits(p_usd, p_credits_per_usd) ELSE 0 END
            FROM execution.runs r JOIN execution.requests q ON q.id = r.request_id WHERE r.id = p_run_id);
END $$;

-- Complete a lens run with a text, in the transaction that ended its claim and wrote down its calls.
CREATE FUNCTION worker.complete_lens_run(
    p_run_id uuid, p_token_input integer, p_token_output integer, p_text text, p_meta jsonb,
    p_latency_ms integer, p_credits_per_usd numeric
) RETURNS void
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_cost numeric := worker.note_run_cost(p_run_id);
    v_credits bigint := worker.fn_run_credits(p_run_id, v_cost, p_credits_per_usd);
BEGIN
    PERFORM fn_worker_complete_execution_run(
        p_run_id => p_run_id, p_status => 'succeeded', p_token_input => p_token_input,
        p_token_output => p_token_output, p_credit_cost => v_credits,
        p_billing_status => CASE WHEN v_credits > 0 THEN 'pending' ELSE 'free' END,
        p_response_text => p_text, p_response_meta => p_meta || jsonb_strip_nulls(jsonb_build_object('cost_usd', v_cost)),
        p_latency_ms => p_latency_ms);
END $$;

-- Fail a lens run, likewise: what it took was paid for.
CREATE FUNCTION worker.fail_lens_run(p_run_id uuid, p_error_code text, p_error_message text) RETURNS void
LANGUAGE plpgsql SET search_path = worker, public AS $$
BEGIN
    PERFORM worker.note_run_cost(p_run_id);
    PERFORM fn_worker_fail_execution_run(p_run_id, p_error_code, p_error_message);
END $$;

-- The platform's list prices.
INSERT INTO worker.model_prices (
    provider, model, valid_from, usd_per_million_input, usd_per_million_output, usd_per_image, usd_per_second, source)
SELECT p.provider, p.model, '2025-01-01 00:00:00+00', p.input, p.output, p.image, p.second, 'list'
FROM (VALUES
    ('openai', 'gpt-5.4-pro', 30, 120, NULL::numeric, NULL::numeric),
    ('openai', 'gpt-5.4', 12, 36, NULL, NULL),
    ('openai', 'gpt-5.4-mini', 2, 8, NULL, NULL),
    ('openai', 'gpt-5.4-nano', 0.5, 2, NULL, NULL),
    ('openai', 'gpt-5.2', 10, 30, NULL, NULL),
    ('openai', 'gpt-4o', 5, 15, NULL, NULL),
    ('openai', 'dall-e-4', NULL, NULL, 0.08, NULL),
    ('openai', 'sora-2.0', NULL, NULL, NULL, 0.25),
    ('anthropic', 'claude-opus-4-6', 15, 75, NULL, NULL),
    ('anthropic', 'claude-sonnet-4-6', 3, 15, NULL, NULL),
    ('anthropic', 'claude-sonnet-4-5', 3, 15, NULL, NULL),
    ('anthropic', 'claude-sonnet-4-0', 3, 15, NULL, NULL),
    ('anthropic', 'claude-haiku-4-5', 0.8, 4, NULL, NULL),
    ('anthropic', 'claude-haiku-3-5', 0.8, 4, NULL, NULL),
    ('google', 'gemini-3.1-pro-preview', 4.5, 13.5, NULL, NULL),
    ('google', 'gemini-3-pro-preview', 4, 12, NULL, NULL),
    ('google', 'gemini-2.5-pro', 3.5, 10.5, NULL, NULL),
    ('google', 'gemini-3-flash-preview', 0.4, 1.2, NULL, NULL),
    ('google', 'gemini-2.5-flash', 0.35, 1.05, NULL, NULL),
    ('google', 'gemini-3.1-flash-lite-preview', 0.12, 0.45, NULL, NULL),
    ('google', 'gemini-2.5-flash-lite', 0.1, 0.4, NULL, NULL),
    ('google', 'imagen-4', NULL, NULL, 0.04, NULL),
    ('google', 'veo-3', NULL, NULL, NULL, 0.2),
    ('google', 'lyria-2', NULL, NULL, NULL, 0.03),
    ('mistral', 'mistral-large-3', 2, 6, NULL, NULL),
    ('mistral', 'magistral-medium-1.2', 1, 3, NULL, NULL),
    ('mistral', 'magistral-small-1.2', 0.2, 0.6, NULL, NULL),
    ('stability', 'stable-diffusion-4', NULL, NULL, 0.02, NULL),
    ('elevenlabs', 'elevenlabs-v4', NULL, NULL, NULL, 0.0012),
    ('kling', 'kling-2.0', NULL, NULL, NULL, 0.18),
    ('suno', 'suno-v5', NULL, NULL, NULL, 0.025),
    ('midjourney', 'midjourney-7', NULL, NULL, 0.05, NULL),
    -- The worker's own machines, and the prompt said again.
    ('ollama', '*', 0, 0, NULL, NULL),
    ('echo', '*', 0, 0, 0, NULL)
) AS p (provider, model, input, output, image, second);

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
