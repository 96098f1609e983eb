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
CREATE TYPE battles.voter_eligibility_enum AS ENUM (
    'open', 'human_only', 'ai_only', 'verified_lenser', 'lenser_only'
);
CREATE TYPE battles.contender_structure_enum AS ENUM ('ai_vs_ai', 'human_vs_human', 'human_vs_ai');
CREATE TYPE battles.vote_value_enum AS ENUM ('contender_a', 'contender_b', 'draw');

-- What entries are judged by, and what battles are made from. The reference keeps their keys alone.
CREATE TABLE battles.rubrics (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid()
);

CREATE TABLE battles.templates (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid()
);

CREATE TABLE battles.battles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    creator_lenser_id uuid NOT NULL DEFAULT lensers.get_auth_lenser_id()
        REFERENCES lensers.profiles ON DELETE CASCADE,
    title text NOT NULL CHECK (length(title) <= 200),
    slug text NOT NULL,
    task_prompt text NOT NULL CHECK (length(task_prompt) <= 32000),
    rubric_id uuid REFERENCES battles.rubrics ON DELETE SET NULL,
    status battles.battle_status_enum NOT NULL DEFAULT 'draft',
    invite_code text CHECK (length(invite_code) <= 32),
    forum_thread_id uuid,
    max_contenders integer NOT NULL DEFAULT 2 CHECK (max_contenders >= 2),
    voting_opens_at timestamptz,
    voting_closes_at timestamptz,
    published_at timestamptz,
    finalized_at timestamptz,
    winner_contender_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    total_vote_count integer NOT NULL DEFAULT 0 CHECK (total_vote_count >= 0),
    battle_type battles.battle_type_enum NOT NULL DEFAULT 'human_vs_human_open_votes',
    voter_eligibility battles.voter_eligibility_enum NOT NULL DEFAULT 'open',
    handicap_config jsonb NOT NULL DEFAULT '{}',
    workflow_id uuid,
    lens_id uuid REFERENCES lenses.lenses ON DELETE SET NULL,
    content_type text NOT NULL DEFAULT 'text' CHECK (content_type IN (
        'text', 'code', 'poem', 'drawing', 'image', 'video', 'audio', 'workflow', 'map', 'avatar', 'image_edit',
        'kaggle'
    )),
    execution_starts_at timestamptz,  -- when an open battle between AI contenders begins by itself
    executing_started_at timestamptz,
    auto_publish boolean NOT NULL DEFAULT true,
    voting_duration_hours integer NOT NULL DEFAULT 24,
    vote_velocity numeric(8,4) NOT NULL DEFAULT 0,
    og_image_url text,
    ai_judge_enabled boolean DEFAULT false,
    ai_judge_model_key text DEFAULT 'claude-sonnet-4-6',
    ai_judge_prompt text CHECK (length(ai_judge_prompt) <= 8000),
    parent_battle_id uuid REFERENCES battles.battles ON DELETE SET NULL,
    template_id uuid REFERENCES battles.templates ON DELETE SET NULL,
    auto_assign_contenders boolean NOT NULL DEFAULT false,
    auto_promote boolean NOT NULL DEFAULT false,  -- open the draft by itself once it is ready
    shared_input_snapshot jsonb,  -- inputs that every contender is given
    lenser_battle_policy jsonb CHECK (  -- rules for agents
        lenser_battle_policy ->> 'memory_mode' IN ('clean_room', 'personality', 'unrestricted')
        AND lenser_battle_policy ->> 'instruction_disclosure' IN ('hidden', 'visible_after_close', 'always_visible')
    ),
    contender_structure battles.contender_structure_enum,
    judging_mode battles.judging_mode_enum,
    task_source text,
    challenge_type text CHECK (challenge_type IN (
        'writing_contest', 'math_calculation', 'grammar_quiz', 'hand_drawing', 'fill_in_blanks',
        'first_code_error', 'logic_puzzle', 'prompt_duel', 'debate', 'code_completion_benchmark',
        'instruction_following_benchmark', 'reasoning_benchmark'
    )),
    generated_challenge_id uuid,
    archived_at timestamptz,
    benchmark_config jsonb,
    normalized_score numeric(5,4) DEFAULT NULL CHECK (normalized_score BETWEEN 0 AND 1),
    automation_config jsonb NOT NULL DEFAULT '{}' CHECK (octet_length(automation_config::text) < 8192),
    judge_dispatched_at timestamptz,  -- when the AI judge was last asked
    UNIQUE (invite_code),
    UNIQUE (slug),
    CHECK (voting_opens_at < voting_closes_at),
    CHECK (task_source = 'challenge'
           OR (task_source IN ('lens', 'workflow')
               AND battle_type IN ('ai_vs_ai', 'workflow_battle', 'lenser_battle')))
);

CREATE INDEX battles_status_idx ON battles.battles (status, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;

-- `contender_ref_id` is the profile of a person or an agent, or the id of a model.
CREATE TABLE battles.contenders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    slot char(1) NOT NULL CHECK (slot BETWEEN 'A' AND 'Z'),
    contender_type battles.contender_type_enum NOT NULL,
    contender_ref_id uuid NOT NULL,
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    team_id uuid,
    entry_mode text NOT NULL DEFAULT 'direct'
        CHECK (entry_mode IN ('direct', 'invited', 'qualified', 'wildcard', 'auto_join')),
    contender_status text NOT NULL DEFAULT 'active' CHECK (contender_status IN (
        'pending', 'accepted', 'active', 'withdrawn', 'disqualified', 'eliminated'
    )),
    joined_at timestamptz DEFAULT now(),
    accepted_at timestamptz,
    withdrawn_at timestamptz,
    UNIQUE (battle_id, contender_ref_id),
    UNIQUE (battle_id, slot)
);

CREATE UNIQUE INDEX contenders_team_key ON battles.contenders (battle_id, team_id) WHERE team_id IS NOT NULL;

ALTER TABLE battles.battles
    ADD FOREIGN KEY (winner_contender_id) REFERENCES battles.contenders ON DELETE SET NULL;

CREATE TABLE battles.contender_entity_map (
    contender_id uuid PRIMARY KEY REFERENCES battles.contenders ON DELETE CASCADE,
    profile_id uuid REFERENCES lensers.profiles,
    ai_lenser_id uuid REFERENCES agents.ai_lensers,
    group_id uuid,
    redacted_agent_snapshot jsonb,
    redacted_agent_snapshot_hash text,
    CHECK (num_nonnulls(profile_id, ai_lenser_id, group_id) = 1)
);

-- The lens that a contender answers with; without a version, its newest one.
CREATE TABLE battles.contender_lens_assignments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    contender_id uuid NOT NULL REFERENCES battles.contenders ON DELETE CASCADE,
    lens_id uuid NOT NULL REFERENCES lenses.lenses,
    version_id uuid REFERENCES lenses.versions,
    assignment_mode text NOT NULL DEFAULT 'manual'
        CHECK (assignment_mode IN ('manual', 'auto_agent', 'battle_required')),
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
    funding_source text NOT NULL DEFAULT 'platform_credit'
        CHECK (funding_source IN ('user_byok_cloud', 'user_byok_local', 'platform_credit', 'sponsored')),
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
    UNIQUE (battle_id),
    CHECK (open_at < judge_at),
    CHECK (judge_at < publish_at)
);

-- What happened to a battle; written by triggers, never changed.
CREATE TABLE battles.events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    event_type text NOT NULL CHECK (event_type IN (
        'status_change', 'contender_joined', 'submission_received', 'vote_cast', 'finalized',
        'published', 'archived', 'invitation_sent', 'invitation_accepted', 'adapter_connected',
        'contender_withdrawn', 'voting_opened', 'voting_closed', 'scoring_started', 'battle_cancelled',
        'funding_allocated', 'cost_recorded', 'run_started', 'run_completed', 'run_failed',
        'challenge_generated', 'challenge_locked', 'challenge_generation_failed'
    )),
    actor_id uuid REFERENCES lensers.profiles ON DELETE SET NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

GRANT ALL ON ALL TABLES IN SCHEMA battles TO service_role;

ALTER PUBLICATION supabase_realtime ADD TABLE battles.battles;
