-- The jobs that make AI contenders' submissions, what contenders hand in, and how it is judged.

-- One per AI contender of a battle.
CREATE TABLE battles.battle_execution_jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    contender_id uuid NOT NULL REFERENCES battles.contenders ON DELETE CASCADE,
    slot text NOT NULL,
    status text NOT NULL DEFAULT 'queued',
    worker_id text,
    claimed_at timestamptz,  -- when it was claimed; of a queued job, not to be claimed before this
    completed_at timestamptz,
    retry_count integer NOT NULL DEFAULT 0,
    max_retries integer NOT NULL DEFAULT 3,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    redacted_agent_snapshot jsonb,
    redacted_agent_snapshot_hash text,
    UNIQUE (battle_id, contender_id),
    CONSTRAINT battle_execution_jobs_slot_check CHECK (slot IN ('A', 'B')),
    CONSTRAINT battle_execution_jobs_retry_count_check CHECK (retry_count >= 0),
    CONSTRAINT battle_execution_jobs_status_check
        CHECK (status IN ('queued', 'claimed', 'running', 'completed', 'failed'))
);

CREATE INDEX battle_execution_jobs_queued_idx ON battles.battle_execution_jobs (created_at)
    WHERE status = 'queued';

-- Jobs that failed for good.
CREATE TABLE battles.battle_execution_dead_letters (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id uuid NOT NULL REFERENCES battles.battle_execution_jobs ON DELETE CASCADE,
    battle_id uuid NOT NULL,
    contender_id uuid NOT NULL,
    slot text,
    error_code text,
    error_message text,
    attempt_count integer NOT NULL DEFAULT 1 CHECK (attempt_count >= 0),  -- counts the first attempt too
    payload jsonb NOT NULL DEFAULT '{}',
    resolved_at timestamptz,  -- when an operator had it tried again
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX battle_execution_dead_letters_unresolved_idx
    ON battles.battle_execution_dead_letters (created_at DESC) WHERE resolved_at IS NULL;

CREATE TABLE battles.submissions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    contender_id uuid NOT NULL REFERENCES battles.contenders ON DELETE CASCADE,
    status battles.submission_status_enum NOT NULL DEFAULT 'pending',
    content_text text,
    content_url text,  -- must be set for media: text or URL is wanted of all but pending ones
    content_media jsonb DEFAULT '[]',
    submitted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    execution_run_id uuid REFERENCES execution.runs ON DELETE SET NULL,
    artifact_id uuid REFERENCES execution.artifacts ON DELETE SET NULL,
    source_type text NOT NULL DEFAULT 'manual',
    model_id uuid REFERENCES ai.models ON DELETE SET NULL,
    integrity_hash text,
    is_final boolean NOT NULL DEFAULT true,
    revision_of_id uuid REFERENCES battles.submissions ON DELETE SET NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    workflow_id uuid,  -- lenses.workflows.id, whose table comes later
    submission_type text NOT NULL DEFAULT 'text',
    media_url text,
    mime_type text,
    output_modality text,
    adapter_id uuid,
    UNIQUE (battle_id, contender_id),
    CONSTRAINT submissions_content_text_check CHECK (length(content_text) <= 20000),
    CONSTRAINT submissions_content_check
        CHECK (status = 'pending' OR content_text IS NOT NULL OR content_url IS NOT NULL),
    CONSTRAINT submissions_output_modality_check
        CHECK (output_modality IN ('text', 'image', 'video', 'audio')),
    CONSTRAINT submissions_mime_type_check CHECK (char_length(mime_type) <= 128),
    CONSTRAINT submissions_source_type_check
        CHECK (source_type IN ('manual', 'execution_output', 'hybrid', 'imported')),
    CONSTRAINT submissions_submission_type_check CHECK (submission_type IN ('text', 'workflow', 'lens'))
);

CREATE UNIQUE INDEX submissions_execution_run_key ON battles.submissions (execution_run_id)
    WHERE execution_run_id IS NOT NULL;
CREATE UNIQUE INDEX submissions_final_key ON battles.submissions (battle_id, contender_id)
    WHERE is_final = true;

CREATE TABLE battles.votes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    voter_lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    vote_value battles.vote_value_enum NOT NULL,
    rationale text,
    created_at timestamptz NOT NULL DEFAULT now(),
    voted_contender_id uuid REFERENCES battles.contenders ON DELETE CASCADE,
    is_draw boolean NOT NULL DEFAULT false,
    weight numeric NOT NULL DEFAULT 1.0,
    is_ai_vote boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (battle_id, voter_lenser_id),
    UNIQUE (battle_id, voter_lenser_id, voted_contender_id)
);

CREATE TABLE battles.vote_aggregates (
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    contender_id uuid NOT NULL REFERENCES battles.contenders ON DELETE CASCADE,
    raw_vote_count integer NOT NULL DEFAULT 0 CHECK (raw_vote_count >= 0),
    weighted_vote_sum numeric NOT NULL DEFAULT 0 CHECK (weighted_vote_sum >= 0),
    draw_count integer NOT NULL DEFAULT 0 CHECK (draw_count >= 0),
    rank_position integer,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (battle_id, contender_id)
);

CREATE TABLE battles.rubric_criteria (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    rubric_id uuid NOT NULL REFERENCES battles.rubrics ON DELETE CASCADE,
    ordinal integer NOT NULL,
    title text NOT NULL,
    description text,
    weight numeric NOT NULL DEFAULT 1.0 CHECK (weight > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (rubric_id, ordinal)
);

CREATE TABLE battles.ai_judge_verdicts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    contender_id uuid NOT NULL REFERENCES battles.contenders ON DELETE CASCADE,
    criterion_id uuid REFERENCES battles.rubric_criteria,
    score numeric(4,2) NOT NULL CHECK (score BETWEEN 0 AND 10),
    rationale text,
    model_key text NOT NULL,
    run_id uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);

GRANT ALL ON ALL TABLES IN SCHEMA battles TO service_role;

ALTER PUBLICATION supabase_realtime ADD TABLE battles.vote_aggregates;
