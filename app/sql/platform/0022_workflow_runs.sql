-- Schedules and runs of workflows, the result of each node, and what happens when a run changes.

CREATE TABLE lenses.workflow_schedules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE CASCADE,
    cron_expr text NOT NULL,  -- five fields, in UTC whatever `timezone` says
    global_model_id text,  -- a model's key
    inputs_template jsonb NOT NULL DEFAULT '{}',
    is_active boolean NOT NULL DEFAULT true,
    last_run_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_run_id uuid,
    last_dispatch_status text,
    last_error_at timestamptz,
    last_error_message text,
    timezone text NOT NULL DEFAULT 'UTC',
    next_run_at timestamptz,
    assignee_type text NOT NULL DEFAULT 'agent' CHECK (assignee_type IN ('agent', 'team')),
    assignee_id uuid,
    workflow_assignment_id uuid REFERENCES agents.workflow_assignments ON DELETE SET NULL,
    approval_policy jsonb NOT NULL DEFAULT '{"requiresApproval": true}',
    retry_policy jsonb NOT NULL DEFAULT '{"maxRetries": 1}',
    failure_policy jsonb NOT NULL DEFAULT '{"mode": "isolate"}',
    queue_policy jsonb NOT NULL DEFAULT '{"mode": "parallel"}',
    last_completed_at timestamptz,
    last_result jsonb NOT NULL DEFAULT '{}',
    description text,
    calendar_id uuid REFERENCES lenses.schedule_calendars ON DELETE SET NULL,
    pre_dispatch_condition jsonb,
    inputs_rotation jsonb,  -- a list of inputs, taken in turn instead of inputs_template
    last_rotation_index integer NOT NULL DEFAULT 0
);

CREATE INDEX workflow_schedules_due_idx
    ON lenses.workflow_schedules (last_run_at NULLS FIRST, created_at) WHERE is_active;

CREATE TABLE lenses.workflow_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE RESTRICT,
    triggered_by uuid REFERENCES lensers.profiles ON DELETE SET NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN (
        'draft', 'validated',
        'pending',           -- waits for a worker, or, with trigger_mode manual, is run by a browser
        'pending_approval',  -- waits for its owner
        'queued',            -- asked for again, or approved
        'running', 'streaming',
        'recovered',         -- taken from a worker whose heartbeat stopped
        'completed', 'failed', 'cancelled', 'timed_out'
    )),
    context_inputs jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    global_model_id text,
    budget_credits integer CHECK (budget_credits >= 0),
    spent_credits integer NOT NULL DEFAULT 0 CHECK (spent_credits >= 0),
    cost_metadata jsonb NOT NULL DEFAULT '{}',
    idempotency_key text,
    heartbeat_at timestamptz,
    run_worker_id text,
    parent_run_id uuid REFERENCES lenses.workflow_runs ON DELETE SET NULL,
    recursion_depth integer NOT NULL DEFAULT 0 CHECK (recursion_depth BETWEEN 0 AND 8),
    schedule_id uuid REFERENCES lenses.workflow_schedules ON DELETE SET NULL,
    trigger_mode text NOT NULL DEFAULT 'manual'
        CHECK (trigger_mode IN ('manual', 'schedule', 'subflow', 'api')),
    active_node_id uuid,
    scheduled_for timestamptz,
    ai_lenser_id uuid REFERENCES agents.ai_lensers,
    metadata jsonb NOT NULL DEFAULT '{}',
    media_manifest jsonb NOT NULL DEFAULT '[]',
    idempotency_expires_at timestamptz,
    workflow_version_id uuid REFERENCES lenses.workflow_versions ON DELETE SET NULL,
    workflow_snapshot_hash text,
    redacted_agent_snapshot jsonb,
    redacted_agent_snapshot_hash text,
    CONSTRAINT workflow_runs_times_check CHECK (completed_at >= started_at)
);

ALTER TABLE lenses.workflow_schedules
    ADD FOREIGN KEY (last_run_id) REFERENCES lenses.workflow_runs ON DELETE SET NULL;

CREATE UNIQUE INDEX workflow_runs_slot_key ON lenses.workflow_runs (schedule_id, scheduled_for)
    WHERE schedule_id IS NOT NULL AND scheduled_for IS NOT NULL;
CREATE INDEX workflow_runs_waiting_idx ON lenses.workflow_runs (status) WHERE status IN ('pending', 'running');
CREATE INDEX workflow_runs_heartbeat_idx ON lenses.workflow_runs (heartbeat_at)
    WHERE status IN ('queued', 'running', 'streaming', 'recovered');
CREATE INDEX workflow_runs_schedule_idx ON lenses.workflow_runs (schedule_id, status);
CREATE INDEX workflow_runs_idempotency_idx
    ON lenses.workflow_runs (workflow_id, idempotency_key, idempotency_expires_at)
    WHERE idempotency_key IS NOT NULL;

CREATE TABLE lenses.workflow_node_results (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id uuid NOT NULL REFERENCES lenses.workflow_runs ON DELETE CASCADE,
    node_id uuid NOT NULL REFERENCES lenses.workflow_nodes ON DELETE CASCADE,
    execution_run_id uuid REFERENCES execution.runs ON DELETE SET NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN (
        'pending', 'awaiting_dependency', 'queued', 'running', 'streaming', 'retrying',
        'completed', 'failed', 'cancelled', 'skipped', 'timed_out', 'blocked', 'invalidated'
    )),
    output_data jsonb,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    input_tokens integer NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens integer NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cost_credits integer NOT NULL DEFAULT 0 CHECK (cost_credits >= 0),
    retry_count integer NOT NULL DEFAULT 0 CHECK (retry_count >= 0),
    duration_ms integer CHECK (duration_ms >= 0),
    ttfb_ms integer CHECK (ttfb_ms >= 0),
    waiting_reason text,
    resolved_input_snapshot jsonb,
    provider_route jsonb,
    workflow_version_node_id uuid REFERENCES lenses.workflow_version_nodes ON DELETE SET NULL,
    resolved_lens_version_id uuid REFERENCES lenses.versions ON DELETE SET NULL,
    node_snapshot_hash text,
    UNIQUE (run_id, node_id)
);

CREATE INDEX workflow_node_results_status_idx ON lenses.workflow_node_results (run_id, status);

CREATE TABLE lenses.workflow_run_dead_letters (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id uuid NOT NULL REFERENCES lenses.workflow_runs ON DELETE CASCADE,
    node_id text,
    error_code text,
    error_message text,
    last_attempt_at timestamptz NOT NULL DEFAULT now(),
    attempt_count integer NOT NULL DEFAULT 1 CHECK (attempt_count >= 0),
    payload jsonb NOT NULL DEFAULT '{}',
    resolved_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What happened in a run, in order; the log that the web's timeline and `follow` read.
CREATE TABLE lenses.workflow_run_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id uuid NOT NULL REFERENCES lenses.workflow_runs ON DELETE CASCADE,
    event_id bigint NOT NULL,
    type text NOT NULL CHECK (length(trim(type)) > 0),
    payload jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, event_id)
);

CREATE TABLE lenses.workflow_run_chains (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    parent_run_id uuid NOT NULL REFERENCES lenses.workflow_runs ON DELETE CASCADE,
    child_run_id uuid NOT NULL REFERENCES lenses.workflow_runs ON DELETE CASCADE,
    chain_reason text,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What a node cost, if anything, is added to its run whenever the node is completed.
CREATE FUNCTION lenses.fn_add_node_cost() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE lenses.workflow_runs AS run
    SET spent_credits = run.spent_credits + NEW.cost_credits,
        cost_metadata = run.cost_metadata || jsonb_build_object(NEW.node_id::text, NEW.cost_credits)
    WHERE run.id = NEW.run_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_accumulate_node_cost AFTER UPDATE ON lenses.workflow_node_results
    FOR EACH ROW WHEN (NEW.status = 'completed' AND OLD.status <> 'completed' AND NEW.cost_credits <> 0)
    EXECUTE FUNCTION lenses.fn_add_node_cost();

CREATE FUNCTION lenses.fn_audit_workflow_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.status = OLD.status THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id, actor_lenser_id, payload)
    VALUES (
        CASE WHEN TG_OP = 'INSERT' THEN 'workflow_run_created' ELSE 'workflow_run_' || NEW.status END,
        'lenses', 'workflow_runs', NEW.id, NEW.triggered_by, jsonb_build_object('workflow_id', NEW.workflow_id)
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_audit_workflow_run AFTER INSERT OR UPDATE OF status ON lenses.workflow_runs
    FOR EACH ROW EXECUTE FUNCTION lenses.fn_audit_workflow_run();

ALTER PUBLICATION supabase_realtime ADD TABLE lenses.workflow_runs, lenses.workflow_node_results;
