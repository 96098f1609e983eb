-- What calls to AI providers cost, in US dollars.

-- No NaN and no infinity, which numeric takes for more than 0.
CREATE DOMAIN worker.usd AS numeric CHECK (VALUE >= 0 AND VALUE < 'Infinity');

-- Prices of models by the platform's keys, each from its day until the next row's; null is a price that nobody
-- knows. The model '*' stands for those of a provider that have no rows of their own.
CREATE TABLE worker.model_prices (
    provider text NOT NULL,
    model text NOT NULL,
    valid_from timestamptz NOT NULL,
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
    v_provider text := worker.fn_provider_name(p_provider);
    v_price worker.model_prices;
BEGIN
    SELECT * INTO v_price FROM worker.model_prices p
    WHERE p.provider = v_provider AND p.model = p_model AND p.valid_from <= p_at
    ORDER BY p.valid_from DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT * INTO v_price FROM worker.model_prices p
        WHERE p.provider = v_provider AND p.model = '*' AND p.valid_from <= p_at
        ORDER BY p.valid_from DESC LIMIT 1;
    END IF;
    RETURN v_price;
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
        v_media := CASE
            WHEN v_price.usd_per_second IS NOT NULL AND p_seconds IS NULL THEN NULL
            WHEN num_nonnulls(v_price.usd_per_image, v_price.usd_per_request, v_price.usd_per_second) > 0 THEN
                p_units * (coalesce(v_price.usd_per_image, 0) + coalesce(v_price.usd_per_request, 0))
                + coalesce(p_seconds * v_price.usd_per_second, 0) END;
        IF p_tokens_in > 0 OR p_tokens_out > 0 THEN
            RETURN coalesce(v_tokens + v_media, v_tokens, v_media);
        END IF;
    END IF;
    RETURN v_tokens + v_media;
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
