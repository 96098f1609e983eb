-- What operators use: the audit log, kill switches, flags and the health of workers.

CREATE SCHEMA admin;
CREATE SCHEMA audit;
CREATE SCHEMA platform;

GRANT USAGE ON SCHEMA audit TO service_role;

CREATE TABLE audit.events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    event_type text NOT NULL,
    entity_schema text,
    entity_table text,
    entity_id uuid,
    actor_lenser_id uuid,
    actor_actor_id uuid,
    ip_hash text,
    user_agent_hash text,
    payload jsonb NOT NULL DEFAULT '{}',
    severity text NOT NULL DEFAULT 'info' CHECK (severity IN ('info', 'warn', 'error', 'critical')),
    actor_type text CHECK (actor_type IN ('lenser', 'ai_actor', 'system')),
    actor_id uuid,
    CHECK (NOT (actor_lenser_id IS NOT NULL AND actor_actor_id IS NOT NULL))
);

GRANT ALL ON audit.events TO service_role;

CREATE FUNCTION audit.fn_fill_event_actor() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.actor_id := coalesce(NEW.actor_id, NEW.actor_lenser_id);
    NEW.actor_type := coalesce(NEW.actor_type, CASE WHEN NEW.actor_id IS NULL THEN 'system' ELSE 'lenser' END);
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_audit_events_backfill_actor BEFORE INSERT ON audit.events
    FOR EACH ROW EXECUTE FUNCTION audit.fn_fill_event_actor();

CREATE FUNCTION audit.fn_refuse_delete() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'audit events are never deleted';
END
$$;

CREATE TRIGGER trg_prevent_delete_events BEFORE DELETE ON audit.events
    FOR EACH ROW EXECUTE FUNCTION audit.fn_refuse_delete();

CREATE TABLE admin.kill_switches (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    scope text NOT NULL CHECK (scope IN (
        'run', 'battle', 'agent',  -- one thing, named by target_id
        'system'                   -- everything
    )),
    target_id uuid,
    operator_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE RESTRICT,
    reason text NOT NULL CHECK (char_length(reason) >= 3),
    expires_at timestamptz,
    activated_at timestamptz NOT NULL DEFAULT now(),
    lifted_at timestamptz,
    CHECK (scope = 'system' OR target_id IS NOT NULL)
);

CREATE FUNCTION public.fn_kill_switch_active(p_scope text, p_target_id uuid DEFAULT NULL) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM admin.kill_switches AS switch
        WHERE switch.lifted_at IS NULL
          AND (switch.expires_at IS NULL OR switch.expires_at > now())
          AND (switch.scope = 'system'
               OR (switch.scope = p_scope AND switch.target_id IS NOT DISTINCT FROM p_target_id))
    )
$$;

CREATE TABLE admin.execution_control (
    id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    queue_frozen boolean NOT NULL DEFAULT false,
    frozen_reason text,
    frozen_by uuid REFERENCES lensers.profiles ON DELETE SET NULL,
    frozen_at timestamptz
);

INSERT INTO admin.execution_control DEFAULT VALUES;

CREATE TABLE platform.system_flags (
    key text PRIMARY KEY,
    value jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by uuid REFERENCES lensers.profiles ON DELETE SET NULL
);

INSERT INTO platform.system_flags (key, value) VALUES
    ('autonomy_dispatch_enabled', 'true'),
    ('public_battles_enabled', 'true'),
    ('webhook_outbox_enabled', 'true');

CREATE TABLE platform.api_worker_heartbeats (
    worker_id text PRIMARY KEY,
    worker_type text NOT NULL DEFAULT 'workflow',
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    metadata jsonb NOT NULL DEFAULT '{}'
);

CREATE FUNCTION platform.fn_upsert_worker_heartbeat(
    p_worker_id text, p_worker_type text DEFAULT 'workflow', p_metadata jsonb DEFAULT '{}'
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO platform.api_worker_heartbeats (worker_id, worker_type, last_seen_at, metadata)
    VALUES (p_worker_id, p_worker_type, now(), p_metadata)
    ON CONFLICT (worker_id) DO UPDATE
        SET worker_type = excluded.worker_type,
            last_seen_at = excluded.last_seen_at,
            metadata = excluded.metadata;
END
$$;

CREATE FUNCTION public.fn_worker_upsert_heartbeat(
    p_worker_id text, p_worker_type text, p_metadata jsonb DEFAULT '{}'
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM platform.fn_upsert_worker_heartbeat(p_worker_id, p_worker_type, p_metadata);
END
$$;

REVOKE ALL ON FUNCTION public.fn_worker_upsert_heartbeat FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION public.fn_worker_upsert_heartbeat TO service_role;

-- A worker is healthy while its last heartbeat is younger than 30 seconds.
CREATE FUNCTION platform.fn_get_worker_health()
RETURNS TABLE (
    worker_id text, worker_type text, last_seen_at timestamptz, is_healthy boolean, seconds_since numeric
)
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $$
    SELECT heartbeat.worker_id,
           heartbeat.worker_type,
           heartbeat.last_seen_at,
           heartbeat.last_seen_at > now() - interval '30 seconds',
           extract(epoch FROM now() - heartbeat.last_seen_at)
    FROM platform.api_worker_heartbeats AS heartbeat
    ORDER BY heartbeat.last_seen_at DESC
$$;

-- Which tables Realtime replicates; the files that create those tables add them.
CREATE PUBLICATION supabase_realtime;
