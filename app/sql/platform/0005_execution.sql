-- Lens runs: a request says what to run, a run is one execution of it, artifacts are what came out.

CREATE SCHEMA execution;
CREATE SCHEMA media;

GRANT USAGE ON SCHEMA execution, media TO service_role;

CREATE TABLE execution.origin_types (
    key text PRIMARY KEY,
    description text,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO execution.origin_types (key, description) VALUES
    ('api', 'a call of the public API'),
    ('api_byok', 'a call of the public API with the caller''s own key'),
    ('api_stream', 'a streaming call of the public API'),
    ('battle', 'a contender''s turn in a battle'),
    ('cli', 'the command line client'),
    ('content_preview', 'a preview of content'),
    ('forum', 'a forum thread'),
    ('lens_preview', 'a preview while editing a lens'),
    ('template_test', 'a test of a template'),
    ('web', 'the web application');

CREATE TABLE execution.requests (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    requester_lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    origin_type text NOT NULL REFERENCES execution.origin_types,
    origin_id uuid,
    model_id uuid REFERENCES ai.models ON DELETE SET NULL,
    lens_id uuid REFERENCES lenses.lenses ON DELETE SET NULL,
    input_snapshot jsonb NOT NULL DEFAULT '{}',  -- parameter label -> value
    runtime_origin text NOT NULL DEFAULT 'cloud',
    funding_source text NOT NULL DEFAULT 'platform_credit',
    created_at timestamptz NOT NULL DEFAULT now(),
    byok_key_ref_id uuid REFERENCES ai.keys ON DELETE SET NULL,
    is_active boolean NOT NULL DEFAULT true,
    version_id uuid REFERENCES lenses.versions ON DELETE SET NULL,
    workspace_id uuid REFERENCES tenancy.workspaces ON DELETE SET NULL,
    idempotency_key text,
    output_modality text,
    resolved_artifact_snapshot jsonb,
    resolved_artifact_snapshot_hash text,
    lens_content_hash text,
    CONSTRAINT requests_funding_source_check CHECK (funding_source IN (
        'user_byok_cloud',  -- the requester's own key, from the vault
        'user_byok_local',  -- the requester's own key, which stays on their machine
        'platform_credit',  -- the platform's key, paid with credits
        'sponsored'         -- the platform's key, paid by a sponsor
    )),
    CONSTRAINT requests_output_modality_check
        CHECK (output_modality IN ('text', 'image', 'video', 'audio', 'music')),
    CONSTRAINT requests_runtime_origin_check
        CHECK (runtime_origin IN ('cloud', 'local', 'hybrid', 'offline_import'))
);

CREATE TABLE execution.runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    request_id uuid NOT NULL REFERENCES execution.requests ON DELETE CASCADE,
    status text NOT NULL DEFAULT 'queued',
    model_id uuid REFERENCES ai.models ON DELETE SET NULL,
    provider_request_id text,
    execution_hash text,
    input_hash text,
    output_hash text,
    started_at timestamptz,
    completed_at timestamptz,
    latency_ms integer,
    error_code text,
    error_message text,
    cost_estimate numeric,
    token_input integer,
    token_output integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    credit_cost bigint,
    billing_status text NOT NULL DEFAULT 'free',
    is_active boolean NOT NULL DEFAULT true,
    response_text text,
    response_meta jsonb DEFAULT '{}',
    throttle_applied boolean NOT NULL DEFAULT false,
    injected_delay_ms integer NOT NULL DEFAULT 0,
    is_async boolean NOT NULL DEFAULT false,
    provider_task_id text,
    last_polled_at timestamptz,
    CONSTRAINT runs_status_check CHECK (status IN (
        'queued',     -- waits for a worker
        'running',    -- claimed
        'succeeded',  -- the answer is stored
        'failed',     -- error_code and error_message say why
        'canceled',   -- stopped by a person
        'timed_out'   -- an asynchronous task never ended
    )),
    CONSTRAINT runs_billing_status_check CHECK (billing_status IN (
        'pending',  -- credits are still to be taken
        'charged',  -- credits were taken
        'failed',   -- credits could not be taken
        'free'      -- nothing to pay
    )),
    CONSTRAINT runs_completed_after_started_check CHECK (completed_at >= started_at)
);

CREATE INDEX runs_request_id_idx ON execution.runs (request_id);
CREATE INDEX runs_status_started_at_idx ON execution.runs (status, started_at DESC);
CREATE INDEX runs_async_poll_idx ON execution.runs (is_async, status, last_polled_at NULLS FIRST)
    WHERE is_async AND status = 'running';
CREATE INDEX runs_async_started_at_idx ON execution.runs (started_at)
    WHERE is_async AND status = 'running';
CREATE UNIQUE INDEX runs_execution_hash_key ON execution.runs (execution_hash)
    WHERE execution_hash IS NOT NULL;
CREATE UNIQUE INDEX runs_provider_request_id_key ON execution.runs (provider_request_id)
    WHERE provider_request_id IS NOT NULL;

ALTER TABLE lenses.lenses
    ADD FOREIGN KEY (forked_from_execution_id) REFERENCES execution.runs ON DELETE SET NULL;

CREATE TABLE execution.artifacts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id uuid NOT NULL REFERENCES execution.runs ON DELETE CASCADE,
    artifact_kind text NOT NULL,
    content_text text,
    content_json jsonb,
    visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'public', 'contender_only')),
    is_primary_output boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    output_type text,
    -- Music has no kind of its own: it is stored as audio.
    CONSTRAINT artifacts_artifact_kind_check CHECK (artifact_kind IN (
        'text', 'image', 'audio', 'video', 'json', 'trace', 'tool_log', 'rubric_result'
    ))
);

CREATE INDEX artifacts_run_id_idx ON execution.artifacts (run_id);

-- A media object is a file in a bucket, a text, or a link to elsewhere; nothing yet while it is pending.
CREATE TABLE media.objects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES tenancy.workspaces,
    owner_lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    bucket text,
    object_key text,
    content_text text,
    external_url text,
    mime_type text,
    media_type text NOT NULL
        CHECK (media_type IN ('text', 'image', 'audio', 'video', 'document', 'json', 'binary')),
    name text NOT NULL,
    byte_size bigint,
    checksum_sha256 text,
    visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('public', 'private', 'unlisted')),
    lifecycle_state text NOT NULL DEFAULT 'pending'
        CHECK (lifecycle_state IN ('pending', 'active', 'archived', 'deleted')),
    metadata jsonb NOT NULL DEFAULT '{}',
    created_by uuid REFERENCES lensers.profiles ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    request_id uuid REFERENCES execution.requests ON DELETE SET NULL,
    duration_seconds numeric CHECK (duration_seconds > 0 AND duration_seconds <= 300),
    video_width integer CHECK (video_width > 0),
    video_height integer CHECK (video_height > 0),
    audio_sample_rate integer CHECK (audio_sample_rate > 0),
    audio_channels smallint CHECK (audio_channels BETWEEN 1 AND 8),
    expires_at timestamptz,
    access_count integer NOT NULL DEFAULT 0,
    CONSTRAINT objects_payload_check CHECK (
        (bucket IS NOT NULL AND object_key IS NOT NULL AND content_text IS NULL AND external_url IS NULL)
        OR (content_text IS NOT NULL AND bucket IS NULL AND object_key IS NULL AND external_url IS NULL)
        OR (external_url IS NOT NULL AND bucket IS NULL AND object_key IS NULL AND content_text IS NULL)
        OR (bucket IS NULL AND object_key IS NULL AND content_text IS NULL AND external_url IS NULL)
    )
);

CREATE UNIQUE INDEX objects_bucket_object_key_key ON media.objects (bucket, object_key)
    WHERE bucket IS NOT NULL AND object_key IS NOT NULL;

CREATE TABLE execution.artifact_medias (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    artifact_id uuid NOT NULL REFERENCES execution.artifacts ON DELETE CASCADE,
    media_id uuid NOT NULL REFERENCES media.objects,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE ai.key_usage_log (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    key_id uuid NOT NULL REFERENCES ai.keys ON DELETE RESTRICT,
    run_id uuid REFERENCES execution.runs ON DELETE SET NULL,
    lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    workspace_id uuid REFERENCES tenancy.workspaces ON DELETE SET NULL,
    token_input integer,
    token_output integer,
    credit_cost bigint,
    provider text,
    model_key text,
    created_at timestamptz NOT NULL DEFAULT now()
);

GRANT ALL ON ALL TABLES IN SCHEMA execution, media TO service_role;
