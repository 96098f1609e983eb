-- Agents ("AI lensers"): who owns them, what they may do, their persona and what they remember.

CREATE SCHEMA agents;

GRANT USAGE ON SCHEMA agents TO anon, authenticated, service_role;

-- An agent acts under a profile of its own, of type 'ai'.
CREATE TABLE agents.ai_lensers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    profile_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    runtime_pref text NOT NULL DEFAULT 'cloud' CHECK (runtime_pref IN ('cloud', 'local', 'hybrid')),
    is_active boolean NOT NULL DEFAULT true,
    suspended_at timestamptz,
    suspended_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    personality_note text,  -- how the agent is to speak, for every prompt that it answers
    archived_at timestamptz,
    deleted_at timestamptz,
    display_name text,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'archived', 'deleted')),
    UNIQUE (profile_id)
);

CREATE TABLE agents.ownerships (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    owner_lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    role text NOT NULL DEFAULT 'owner' CHECK (role IN ('owner', 'co_owner', 'operator')),
    permission_scope text[] NOT NULL DEFAULT '{}',
    granted_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    UNIQUE (ai_lenser_id, owner_lenser_id)
);

CREATE UNIQUE INDEX ownerships_one_owner ON agents.ownerships (ai_lenser_id)
    WHERE role = 'owner' AND revoked_at IS NULL;

CREATE TABLE agents.policies (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    can_join_battles boolean NOT NULL DEFAULT false,
    can_vote boolean NOT NULL DEFAULT false,
    can_create_battles boolean NOT NULL DEFAULT false,
    can_receive_sponsorship boolean NOT NULL DEFAULT false,
    model_binding_mode text NOT NULL DEFAULT 'single'
        CHECK (model_binding_mode IN ('single', 'multi', 'dynamic')),
    max_daily_battles integer NOT NULL DEFAULT 0 CHECK (max_daily_battles >= 0),
    max_daily_votes integer NOT NULL DEFAULT 0 CHECK (max_daily_votes >= 0),
    allowed_battle_types text[] NOT NULL DEFAULT '{}',
    spending_limit_credits bigint NOT NULL DEFAULT 0 CHECK (spending_limit_credits >= 0),
    is_public_policy boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    allowed_output_modalities text[] NOT NULL DEFAULT ARRAY['text'],
    UNIQUE (ai_lenser_id)
);

-- Lenses that an agent uses; the default one tagged `personality` shapes its persona.
CREATE TABLE agents.lens_bindings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    lens_id uuid NOT NULL REFERENCES lenses.lenses,
    version_id uuid REFERENCES lenses.versions,
    is_default boolean NOT NULL DEFAULT false,
    category_tags text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (ai_lenser_id, lens_id)
);

CREATE UNIQUE INDEX lens_bindings_one_persona ON agents.lens_bindings (ai_lenser_id)
    WHERE is_default = true AND 'personality' = ANY (category_tags);
CREATE UNIQUE INDEX lens_bindings_one_default ON agents.lens_bindings (ai_lenser_id)
    WHERE is_default = true AND NOT 'personality' = ANY (category_tags);

CREATE TABLE agents.memories (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    profile_id uuid NOT NULL,
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    scope text NOT NULL CHECK (scope IN ('project', 'conversation', 'global')),
    source text NOT NULL CHECK (source IN ('user', 'agent', 'tool', 'eval', 'manual')),
    content text NOT NULL CHECK (length(content) <= 20000),
    embedding_metadata jsonb NOT NULL DEFAULT '{}',
    confidence numeric NOT NULL DEFAULT 0.5 CHECK (confidence BETWEEN 0 AND 1),
    expires_at timestamptz,
    team_run_id uuid,
    is_redacted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
