-- AI providers, their models and prices, and the keys that people bring themselves ("BYOK").

CREATE SCHEMA ai;

CREATE TYPE ai.key_scope_enum AS ENUM ('user', 'team', 'agent');
CREATE TYPE ai.key_status_enum AS ENUM ('active', 'revoked', 'expired');

CREATE TABLE ai.providers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key text NOT NULL UNIQUE,  -- openai, anthropic, google, ...
    display_name text NOT NULL,
    base_url text,
    docs_url text,
    is_active boolean NOT NULL DEFAULT true,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    support_level text NOT NULL DEFAULT 'runnable'
        CHECK (support_level IN ('runnable', 'byok_only', 'catalog_only', 'deprecated')),
    logo_slug text
);

CREATE TABLE ai.models (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    version text,
    provider_url text,
    description text NOT NULL DEFAULT '',
    temperature numeric NOT NULL DEFAULT 0.7,
    max_tokens integer NOT NULL DEFAULT 4096,
    created_at timestamptz NOT NULL DEFAULT now(),
    key text UNIQUE,
    provider_id uuid NOT NULL REFERENCES ai.providers ON DELETE SET NULL,
    context_window_tokens integer,
    supports_tools boolean NOT NULL DEFAULT false,
    supports_json_schema boolean NOT NULL DEFAULT false,
    supports_vision boolean NOT NULL DEFAULT false,
    is_active boolean NOT NULL DEFAULT false,
    capabilities text[] NOT NULL DEFAULT '{}' CHECK (capabilities <@ ARRAY[
        'chat', 'reasoning', 'tools', 'vision', 'json_schema', 'image_generation', 'video_generation',
        'audio_generation', 'music_generation', 'code', 'text', 'image', 'music'
    ]),
    input_modalities text[] NOT NULL DEFAULT ARRAY['text'],
    output_modalities text[] NOT NULL DEFAULT ARRAY['text'],
    docs_url text,
    support_level text NOT NULL DEFAULT 'runnable'
        CHECK (support_level IN ('runnable', 'byok_only', 'catalog_only', 'deprecated')),
    supports_streaming boolean NOT NULL DEFAULT false,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'preview', 'deprecated', 'legacy')),
    use_cases text[] NOT NULL DEFAULT '{}',
    developer_summary text NOT NULL DEFAULT '',
    user_summary text NOT NULL DEFAULT '',
    metadata jsonb NOT NULL DEFAULT '{}'
);

CREATE UNIQUE INDEX models_given_key_key ON ai.models (key) WHERE key IS NOT NULL;

ALTER TABLE lensers.profiles
    ADD FOREIGN KEY (ai_model_id) REFERENCES ai.models ON DELETE SET NULL;

CREATE TABLE ai.modality_pricing (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    model_id uuid NOT NULL REFERENCES ai.models ON DELETE CASCADE,
    output_modality text NOT NULL CHECK (output_modality IN ('text', 'image', 'video', 'audio', 'music')),
    credit_rate numeric NOT NULL CHECK (credit_rate >= 0),
    rate_unit text NOT NULL CHECK (rate_unit IN ('per_image', 'per_second', 'per_1k_chars', 'per_request')),
    is_active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (model_id, output_modality)
);

CREATE TABLE ai.keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    label text,
    encrypted_key_id uuid NOT NULL,  -- vault.secrets.id
    key_suffix text NOT NULL CHECK (char_length(key_suffix) BETWEEN 1 AND 4),
    is_active boolean NOT NULL DEFAULT true,  -- the only column that decides whether a key can be used
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    scope ai.key_scope_enum DEFAULT 'user',
    scoped_entity_id uuid,
    status ai.key_status_enum DEFAULT 'active',
    last_used_at timestamptz,
    expires_at timestamptz,
    key_prefix text,
    provider_id uuid NOT NULL REFERENCES ai.providers ON DELETE RESTRICT
);
