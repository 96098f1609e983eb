-- Battles: contenders answer the same task, people or a judge decide who did better.

CREATE SCHEMA battles;

GRANT USAGE ON SCHEMA battles TO anon, authenticated, service_role;

CREATE TYPE battles.battle_status_enum AS ENUM (
    'draft',      -- being written
    'open',       -- contenders may join
    'executing',  -- AI contenders work on their submissions
    'voting',
    'scoring',    -- voting has ended, the result is being found
    'closed',     -- there is a result
    'published',
    'archived'
);
CREATE TYPE battles.battle_type_enum AS ENUM (
    'ai_vs_ai', 'human_vs_human_ai_votes', 'human_vs_human_open_votes', 'human_vs_ai', 'workflow_battle',
    'lenser_battle'
);
CREATE TYPE battles.contender_type_enum AS ENUM ('human', 'ai_model', 'ai_agent');
CREATE TYPE battles.judging_mode_enum AS ENUM ('community_vote', 'ai_judge', 'rubric_score', 'auto_score');
CREATE TYPE battles.submission_status_enum AS ENUM (
    'pending', 'streaming', 'submitted', 'withdrawn', 'disqualified'
);
CREATE TYPE battles.vote_value_enum AS ENUM ('contender_a', 'contender_b', 'draw');

CREATE TABLE battles.battles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    creator_lenser_id uuid NOT NULL DEFAULT lensers.get_auth_lenser_id()
        REFERENCES lensers.profiles ON DELETE CASCADE,
    title text NOT NULL,
    slug text NOT NULL,
    task_prompt text NOT NULL,
    rubric_id uuid,
    status battles.battle_status_enum NOT NULL DEFAULT 'draft',
    invite_code text,
    forum_thread_id uuid,
    max_contenders integer NOT NULL DEFAULT 2,
    voting_opens_at timestamptz,
    voting_closes_at timestamptz,
    published_at timestamptz,
    finalized_at timestamptz,
    winner_contender_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    total_vote_count integer NOT NULL DEFAULT 0,
    battle_type battles.battle_type_enum NOT NULL DEFAULT 'human_vs_human_open_votes',
    voter_eligibility text NOT NULL DEFAULT 'open',
    handicap_config jsonb NOT NULL DEFAULT '{}',
    workflow_id uuid,
    lens_id uuid REFERENCES lenses.lenses ON DELETE SET NULL,
    content_type text NOT NULL DEFAULT 'text',
    execution_starts_at timestamptz,  -- when an open battle between AI contenders begins by itself
    executing_started_at timestamptz,
    auto_publish boolean NOT NULL DEFAULT true,
    voting_duration_hours integer NOT NULL DEFAULT 24,
    vote_velocity numeric(8,4) NOT NULL DEFAULT 0,
    og_image_url text,
    ai_judge_enabled boolean DEFAULT false,
    ai_judge_model_key text DEFAULT 'claude-sonnet-4-6',
    ai_judge_prompt text,
    parent_battle_id uuid REFERENCES battles.battles ON DELETE SET NULL,
    template_id uuid,
    auto_assign_contenders boolean NOT NULL DEFAULT false,
    auto_promote boolean NOT NULL DEFAULT false,  -- open the draft by itself once it is ready
    shared_input_snapshot jsonb,  -- inputs that every contender is given
    lenser_battle_policy jsonb,  -- rules for agents, such as {"memory_mode": "clean_room"}
    contender_structure text,
    judging_mode battles.judging_mode_enum,
    task_source text,
    challenge_type text,
    generated_challenge_id uuid,
    archived_at timestamptz,
    benchmark_config jsonb,
    normalized_score numeric(5,4),
    automation_config jsonb NOT NULL DEFAULT '{}',
    judge_dispatched_at timestamptz,  -- when the AI judge was last asked
    UNIQUE (invite_code),
    UNIQUE (slug)
);

CREATE INDEX battles_status_idx ON battles.battles (status, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;

-- `contender_ref_id` is the profile of a person or an agent, or the id of a model.
CREATE TABLE battles.contenders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    slot char(1) NOT NULL,
    contender_type battles.contender_type_enum NOT NULL,
    contender_ref_id uuid NOT NULL,
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    team_id uuid,
    entry_mode text NOT NULL DEFAULT 'direct',
    contender_status text NOT NULL DEFAULT 'active',
    joined_at timestamptz DEFAULT now(),
    accepted_at timestamptz,
    withdrawn_at timestamptz,
    UNIQUE (battle_id, contender_ref_id),
    UNIQUE (battle_id, slot)
);

ALTER TABLE battles.battles
    ADD FOREIGN KEY (winner_contender_id) REFERENCES battles.contenders ON DELETE SET NULL;

CREATE TABLE battles.contender_entity_map (
    contender_id uuid PRIMARY KEY REFERENCES battles.contenders ON DELETE CASCADE,
    profile_id uuid REFERENCES lensers.profiles,
    ai_lenser_id uuid REFERENCES agents.ai_lensers,
    group_id uuid,
    redacted_agent_snapshot jsonb,
    redacted_agent_snapshot_hash text
);

-- The lens that a contender answers with; without a version, its newest one.
CREATE TABLE battles.contender_lens_assignments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    contender_id uuid NOT NULL REFERENCES battles.contenders ON DELETE CASCADE,
    lens_id uuid NOT NULL REFERENCES lenses.lenses,
    version_id uuid REFERENCES lenses.versions,
    assignment_mode text NOT NULL DEFAULT 'manual',
    assigned_at timestamptz NOT NULL DEFAULT now(),
    input_snapshot jsonb NOT NULL DEFAULT '{}',
    UNIQUE (contender_id)
);

-- Provider, model and key of one contender, or of all of a battle where `contender_id` is NULL.
CREATE TABLE battles.execution_configs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    contender_id uuid REFERENCES battles.contenders ON DELETE CASCADE,
    provider_key text NOT NULL,
    model_key text NOT NULL,
    model_id uuid REFERENCES ai.models,
    funding_source text NOT NULL DEFAULT 'platform_credit',
    byok_key_ref_id uuid,
    max_tokens integer DEFAULT 4096,
    temperature numeric(3,2) DEFAULT 0.70,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    UNIQUE (battle_id, contender_id)
);

-- When a battle opens, is judged and published by itself.
CREATE TABLE battles.schedules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    open_at timestamptz,
    judge_at timestamptz,
    publish_at timestamptz,
    auto_judge boolean NOT NULL DEFAULT true,
    auto_publish boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (battle_id)
);

-- What happened to a battle; written by triggers, never changed.
CREATE TABLE battles.events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    event_type text NOT NULL,
    actor_id uuid REFERENCES lensers.profiles ON DELETE SET NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

GRANT ALL ON ALL TABLES IN SCHEMA battles TO service_role;

ALTER PUBLICATION supabase_realtime ADD TABLE battles.battles;
