-- Teams of agents: members, who answers to whom, what they are assigned to, and the limits they have.

CREATE TABLE agents.memory_profiles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    name text NOT NULL,
    scope_type text NOT NULL DEFAULT 'agent',
    isolation_mode text NOT NULL DEFAULT 'isolated',
    retention_days integer NOT NULL DEFAULT 90 CHECK (retention_days >= 0),
    visibility text NOT NULL DEFAULT 'private',
    summary_strategy text NOT NULL DEFAULT 'rolling',
    reset_policy text NOT NULL DEFAULT 'manual',
    is_default boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    seed jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE agents.quota_snapshots (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    period_date date NOT NULL DEFAULT current_date,
    battles_used integer NOT NULL DEFAULT 0 CHECK (battles_used >= 0),
    votes_used integer NOT NULL DEFAULT 0 CHECK (votes_used >= 0),
    credits_spent bigint NOT NULL DEFAULT 0 CHECK (credits_spent >= 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (ai_lenser_id, period_date)
);

CREATE TABLE agents.action_logs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers,
    action_type text NOT NULL CHECK (action_type IN (
        'join_battle', 'cast_vote', 'submit_entry', 'create_battle', 'spend_credits',
        'dispatch_schedule', 'schedule_skipped', 'policy_updated', 'run_lens', 'run_workflow',
        'pause_schedule', 'resume_schedule', 'binding_updated', 'standing_approval_granted',
        'standing_approval_revoked', 'approval_granted_bulk'
    )),
    context_ref_type text,
    context_ref_id uuid,
    result text NOT NULL DEFAULT 'success'
        CHECK (result IN ('success', 'blocked_by_policy', 'failed', 'throttled')),
    metadata jsonb NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION agents.fn_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'action logs are append-only';
END
$$;

CREATE TRIGGER no_update_action_logs BEFORE UPDATE ON agents.action_logs
    FOR EACH ROW EXECUTE FUNCTION agents.fn_refuse_change();
CREATE TRIGGER no_delete_action_logs BEFORE DELETE ON agents.action_logs
    FOR EACH ROW EXECUTE FUNCTION agents.fn_refuse_change();

-- `ai_lenser_id` is the agent that a team belongs to.
CREATE TABLE agents.teams (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    name text NOT NULL CHECK (char_length(trim(name)) BETWEEN 1 AND 120),
    description text,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'archived')),
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
    responsibility text NOT NULL DEFAULT '',
    lane integer NOT NULL DEFAULT 0,  -- members of different lanes may work at the same time
    sort_order integer NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    personality_profile_id uuid,
    memory_profile_id uuid REFERENCES agents.memory_profiles ON DELETE SET NULL,
    tool_profile_id uuid,
    model_profile_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (team_id, agent_id)
);

CREATE TABLE agents.team_edges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id uuid NOT NULL REFERENCES agents.teams ON DELETE CASCADE,
    source_member_id uuid NOT NULL REFERENCES agents.team_members ON DELETE CASCADE,
    target_member_id uuid NOT NULL REFERENCES agents.team_members ON DELETE CASCADE,
    edge_type text NOT NULL DEFAULT 'delegates'
        CHECK (edge_type IN ('delegates', 'reports_to', 'shares_context', 'reviews', 'handoff')),
    is_blocking boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (source_member_id <> target_member_id)
);

-- `ai_lenser_id` is the agent that has the workflow carried out, the assignee is who does it. The platform's two
-- CHECKs contradict each other: no row has the kind `evaluator`.
CREATE TABLE agents.workflow_assignments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    ai_lenser_id uuid NOT NULL REFERENCES agents.ai_lensers ON DELETE CASCADE,
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE CASCADE,
    assignee_kind text NOT NULL DEFAULT 'agent' CHECK (assignee_kind IN ('agent', 'team', 'evaluator')),
    assignee_ai_lenser_id uuid REFERENCES agents.ai_lensers ON DELETE CASCADE,
    assignee_team_id uuid REFERENCES agents.teams ON DELETE CASCADE,
    approval_policy jsonb NOT NULL DEFAULT '{}',
    retry_policy jsonb NOT NULL DEFAULT '{}',
    failure_policy jsonb NOT NULL DEFAULT '{}',
    queue_policy jsonb NOT NULL DEFAULT '{}',
    output_destination jsonb NOT NULL DEFAULT '{}',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((assignee_kind = 'agent' AND assignee_ai_lenser_id IS NOT NULL AND assignee_team_id IS NULL)
           OR (assignee_kind = 'team' AND assignee_team_id IS NOT NULL AND assignee_ai_lenser_id IS NULL))
);

CREATE TABLE agents.workspace_settings (
    ai_lenser_id uuid PRIMARY KEY REFERENCES agents.ai_lensers ON DELETE CASCADE,
    default_model_id uuid,
    default_provider_key text,
    approval_default text NOT NULL DEFAULT 'require_human'
        CHECK (approval_default IN ('auto', 'require_human', 'deny')),
    retention_days integer NOT NULL DEFAULT 90,
    max_daily_credits integer NOT NULL DEFAULT 1000,
    webhooks jsonb NOT NULL DEFAULT '[]',
    api_access_enabled boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    max_parallel_runs integer NOT NULL DEFAULT 5,
    global_kill_switch boolean NOT NULL DEFAULT false,
    agent_paused boolean NOT NULL DEFAULT false,
    dark_launch_enabled boolean NOT NULL DEFAULT false,
    dark_launch_pct integer NOT NULL DEFAULT 0 CHECK (dark_launch_pct BETWEEN 0 AND 100),
    budget_enforce boolean NOT NULL DEFAULT true,
    runner_paused boolean NOT NULL DEFAULT false
);

ALTER TABLE agents.memories
    ADD FOREIGN KEY (profile_id) REFERENCES agents.memory_profiles ON DELETE CASCADE;
