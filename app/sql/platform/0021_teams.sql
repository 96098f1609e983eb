-- Teams of agents: members, who answers to whom, what they are assigned to, and the limits they have.

CREATE TABLE agents.memory_profiles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    name text NOT NULL,
    is_default boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE agents.quota_snapshots (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    period_date date NOT NULL DEFAULT current_date,
    battles_used integer NOT NULL DEFAULT 0,
    votes_used integer NOT NULL DEFAULT 0,
    credits_spent bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (ai_lenser_id, period_date)
);

CREATE TABLE agents.action_logs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers,
    action_type text NOT NULL,
    context_ref_type text,
    context_ref_id uuid,
    result text NOT NULL DEFAULT 'success',
    metadata jsonb NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT action_logs_result_check
        CHECK (result IN ('success', 'failure', 'blocked', 'skipped', 'budget_exceeded'))
);

CREATE FUNCTION agents.fn_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'action logs are append-only';
END
$$;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON agents.action_logs
    FOR EACH ROW EXECUTE FUNCTION agents.fn_refuse_change();

-- `ai_lenser_id` is the agent that a team belongs to.
CREATE TABLE agents.teams (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    name text NOT NULL,
    description text,
    status text NOT NULL DEFAULT 'active',
    scratchpad jsonb NOT NULL DEFAULT '{}',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE agents.team_members (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id uuid NOT NULL REFERENCES agents.teams ON DELETE CASCADE,
    agent_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    role text NOT NULL DEFAULT 'executor'
        CHECK (role IN ('leader', 'executor', 'reviewer', 'observer', 'operator')),
    responsibility text,
    lane integer NOT NULL DEFAULT 0,  -- members of different lanes may work at the same time
    sort_order integer NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    personality_profile_id uuid,
    memory_profile_id uuid,
    tool_profile_id uuid,
    model_profile_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (team_id, agent_id)
);

CREATE TABLE agents.team_edges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id uuid NOT NULL REFERENCES agents.teams ON DELETE CASCADE,
    source_member_id uuid NOT NULL REFERENCES agents.team_members ON DELETE CASCADE,
    target_member_id uuid NOT NULL REFERENCES agents.team_members ON DELETE CASCADE,
    edge_type text NOT NULL
        CHECK (edge_type IN ('delegates', 'reports_to', 'shares_context', 'reviews', 'handoff')),
    is_blocking boolean NOT NULL DEFAULT false
);

CREATE TABLE agents.workflow_assignments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE CASCADE,
    assignee_kind text NOT NULL CHECK (assignee_kind IN ('agent', 'team')),
    ai_lenser_id uuid REFERENCES agents.ai_lensers ON DELETE CASCADE,
    team_id uuid REFERENCES agents.teams ON DELETE CASCADE,
    approval_policy jsonb NOT NULL DEFAULT '{}',
    retry_policy jsonb NOT NULL DEFAULT '{}',
    failure_policy jsonb NOT NULL DEFAULT '{}',
    queue_policy jsonb NOT NULL DEFAULT '{}',
    output_destination jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE agents.workspace_settings (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL UNIQUE REFERENCES agents.ai_lensers ON DELETE CASCADE,
    max_parallel_runs integer NOT NULL DEFAULT 5,
    max_daily_credits integer NOT NULL DEFAULT 1000,
    budget_enforce boolean NOT NULL DEFAULT true,
    agent_paused boolean NOT NULL DEFAULT false,
    global_kill_switch boolean NOT NULL DEFAULT false,
    runner_paused boolean NOT NULL DEFAULT false
);

ALTER TABLE agents.memories
    ADD FOREIGN KEY (profile_id) REFERENCES agents.memory_profiles ON DELETE CASCADE;
