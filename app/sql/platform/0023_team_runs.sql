-- Team runs: an agent, or a team of them, works on a workflow or on a shared task.

CREATE TABLE agents.team_runs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    team_id uuid REFERENCES agents.teams ON DELETE SET NULL,
    workflow_id uuid REFERENCES lenses.workflows ON DELETE SET NULL,
    workflow_run_id uuid REFERENCES lenses.workflow_runs ON DELETE SET NULL,
    workflow_assignment_id uuid REFERENCES agents.workflow_assignments ON DELETE SET NULL,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled', 'blocked')),
    approval_status text NOT NULL DEFAULT 'pending'
        CHECK (approval_status IN ('pending', 'approved', 'rejected', 'not_required', 'timed_out')),
    scratchpad jsonb NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    shared_scratchpad jsonb NOT NULL DEFAULT '{}',
    shared_scratchpad_version integer NOT NULL DEFAULT 0,
    parent_team_run_id uuid REFERENCES agents.team_runs ON DELETE SET NULL,
    recursion_depth integer NOT NULL DEFAULT 0 CHECK (recursion_depth BETWEEN 0 AND 8),
    redacted_agent_snapshot jsonb,
    redacted_agent_snapshot_hash text
);

CREATE INDEX team_runs_agent_idx ON agents.team_runs (ai_lenser_id, created_at);
CREATE INDEX team_runs_parent_idx ON agents.team_runs (parent_team_run_id);

ALTER TABLE agents.memories
    ADD FOREIGN KEY (team_run_id) REFERENCES agents.team_runs ON DELETE SET NULL;

CREATE TABLE agents.agent_run_steps (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_run_id uuid NOT NULL REFERENCES agents.team_runs ON DELETE CASCADE,
    team_member_id uuid REFERENCES agents.team_members ON DELETE SET NULL,
    workflow_node_id uuid REFERENCES lenses.workflow_nodes ON DELETE SET NULL,
    lane integer NOT NULL DEFAULT 0,
    title text NOT NULL DEFAULT '',
    current_task text,
    recent_output_summary text,
    blocker_summary text,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'completed', 'failed', 'blocked', 'skipped')),
    payload jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE agents.agent_run_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_run_id uuid NOT NULL REFERENCES agents.team_runs ON DELETE CASCADE,
    agent_run_step_id uuid REFERENCES agents.agent_run_steps ON DELETE CASCADE,
    event_type text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE agents.team_messages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_run_id uuid NOT NULL REFERENCES agents.team_runs ON DELETE CASCADE,
    from_agent_id uuid NOT NULL,
    to_agent_id uuid,  -- NULL: to all
    parent_message_id uuid REFERENCES agents.team_messages ON DELETE SET NULL,
    kind text NOT NULL CHECK (kind IN ('task_request', 'task_response', 'info', 'error')),
    payload jsonb NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX team_messages_run_idx ON agents.team_messages (team_run_id, occurred_at);

CREATE FUNCTION agents.fn_cap_messages() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF (SELECT count(*) FROM agents.team_messages AS sent WHERE sent.team_run_id = NEW.team_run_id) >= 1000 THEN
        RAISE EXCEPTION 'team_messages_cap_exceeded' USING ERRCODE = '54000';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_team_messages_cap BEFORE INSERT ON agents.team_messages
    FOR EACH ROW EXECUTE FUNCTION agents.fn_cap_messages();

CREATE TABLE agents.standing_approvals (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    workflow_id uuid REFERENCES lenses.workflows ON DELETE CASCADE,
    gate_kind text,
    expires_at timestamptz,
    created_by uuid NOT NULL REFERENCES lensers.profiles,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CHECK (workflow_id IS NOT NULL OR gate_kind IS NOT NULL)
);

-- A run whose owner approved all runs of its workflow once and for all needs no approval of its own.
CREATE FUNCTION agents.fn_apply_standing_approval() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NEW.status = 'blocked' AND NEW.approval_status = 'pending' AND EXISTS (
        SELECT FROM agents.standing_approvals AS given
        WHERE given.ai_lenser_id = NEW.ai_lenser_id AND given.workflow_id = NEW.workflow_id
          AND given.revoked_at IS NULL AND (given.expires_at IS NULL OR given.expires_at > now())
    ) THEN
        NEW.status := 'queued';
        NEW.approval_status := 'approved';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_team_runs_apply_standing_approval BEFORE INSERT ON agents.team_runs
    FOR EACH ROW EXECUTE FUNCTION agents.fn_apply_standing_approval();
