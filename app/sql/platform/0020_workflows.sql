-- Workflows: graphs of nodes, their numbered versions, and what may start one.

CREATE TABLE lenses.workflows (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    title text NOT NULL CHECK (char_length(trim(title)) BETWEEN 1 AND 200),
    description text,
    visibility text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'private', 'unlisted')),
    battle_count integer NOT NULL DEFAULT 0 CHECK (battle_count >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    reaction_totals jsonb NOT NULL DEFAULT '{}',
    fork_count integer NOT NULL DEFAULT 0 CHECK (fork_count >= 0),
    parent_workflow_id uuid REFERENCES lenses.workflows ON DELETE SET NULL,
    head_version_id uuid,
    archived_at timestamptz,
    deleted_at timestamptz,
    webhook_secret text,
    slug text NOT NULL UNIQUE
);

ALTER TABLE battles.battles
    ADD FOREIGN KEY (workflow_id) REFERENCES lenses.workflows ON DELETE SET NULL;
ALTER TABLE battles.submissions
    ADD FOREIGN KEY (workflow_id) REFERENCES lenses.workflows;

-- A node with a lens asks a model; what another node does stands in its config.
CREATE TABLE lenses.workflow_nodes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE CASCADE,
    lens_id uuid REFERENCES lenses.lenses ON DELETE SET NULL,
    version_id uuid REFERENCES lenses.versions ON DELETE SET NULL,
    position_x double precision NOT NULL DEFAULT 0,
    position_y double precision NOT NULL DEFAULT 0,
    label text,
    ordinal integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    config jsonb NOT NULL DEFAULT '{}'
);

CREATE INDEX workflow_nodes_workflow_id_idx ON lenses.workflow_nodes (workflow_id);

CREATE TABLE lenses.workflow_edges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE CASCADE,
    source_node_id uuid NOT NULL REFERENCES lenses.workflow_nodes ON DELETE CASCADE,
    target_node_id uuid NOT NULL REFERENCES lenses.workflow_nodes ON DELETE CASCADE,
    source_output_key text NOT NULL DEFAULT 'output',
    target_param_label text NOT NULL,
    merge_strategy text CHECK (merge_strategy IN ('last_write_wins', 'concat', 'array', 'json_object')),
    condition jsonb,
    UNIQUE (source_node_id, target_node_id, target_param_label),
    CONSTRAINT no_self_loops CHECK (source_node_id <> target_node_id)
);

CREATE INDEX workflow_edges_workflow_id_idx ON lenses.workflow_edges (workflow_id);
CREATE INDEX workflow_edges_target_node_id_idx ON lenses.workflow_edges (target_node_id);

CREATE FUNCTION lenses.fn_refuse_cycles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF EXISTS (
        WITH RECURSIVE reachable (id) AS (
            SELECT NEW.target_node_id
            UNION
            SELECT edge.target_node_id
            FROM reachable JOIN lenses.workflow_edges AS edge ON edge.source_node_id = reachable.id
        )
        SELECT FROM reachable WHERE reachable.id = NEW.source_node_id
    ) THEN
        RAISE EXCEPTION 'cycle_detected' USING ERRCODE = '23514';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_workflow_edges_acyclic AFTER INSERT OR UPDATE ON lenses.workflow_edges
    FOR EACH ROW EXECUTE FUNCTION lenses.fn_refuse_cycles();

CREATE TABLE lenses.workflow_versions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE CASCADE,
    version_number integer NOT NULL,
    changelog text,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published', 'archived', 'snapshot')),
    published_at timestamptz,
    created_by uuid REFERENCES lensers.profiles ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    snapshot_hash text,
    UNIQUE (workflow_id, version_number),
    CHECK (status <> 'published' OR published_at IS NOT NULL)
);

ALTER TABLE lenses.workflows
    ADD FOREIGN KEY (head_version_id) REFERENCES lenses.workflow_versions ON DELETE SET NULL;

CREATE TABLE lenses.workflow_version_nodes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_version_id uuid NOT NULL REFERENCES lenses.workflow_versions ON DELETE CASCADE,
    lens_id uuid NOT NULL REFERENCES lenses.lenses ON DELETE CASCADE,
    version_id uuid REFERENCES lenses.versions ON DELETE SET NULL,
    position_x double precision NOT NULL DEFAULT 0,
    position_y double precision NOT NULL DEFAULT 0,
    label text,
    ordinal integer NOT NULL DEFAULT 0,
    config jsonb NOT NULL DEFAULT '{}',
    source_node_id uuid
);

CREATE TABLE lenses.workflow_version_edges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_version_id uuid NOT NULL REFERENCES lenses.workflow_versions ON DELETE CASCADE,
    source_node_id uuid NOT NULL REFERENCES lenses.workflow_version_nodes ON DELETE CASCADE,
    target_node_id uuid NOT NULL REFERENCES lenses.workflow_version_nodes ON DELETE CASCADE,
    source_output_key text NOT NULL DEFAULT 'output',
    target_param_label text NOT NULL,
    CHECK (source_node_id <> target_node_id)
);

CREATE TABLE lenses.workflow_triggers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workflow_id uuid NOT NULL REFERENCES lenses.workflows ON DELETE CASCADE,
    owner_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    trigger_type text NOT NULL CHECK (trigger_type IN ('cron', 'battle_event', 'webhook', 'manual')),
    condition jsonb NOT NULL DEFAULT '{}',  -- keys that the event must have with the same value
    webhook_secret text,
    enabled boolean NOT NULL DEFAULT true,
    last_fired_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Days on which schedules rest, or the only ones on which they run.
CREATE TABLE lenses.schedule_calendars (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    lenser_id uuid NOT NULL,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('skip_dates', 'only_dates')),
    dates date[] NOT NULL DEFAULT '{}',
    timezone text NOT NULL,
    is_seed boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (lenser_id, name)
);
