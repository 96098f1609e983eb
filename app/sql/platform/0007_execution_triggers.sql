-- What happens by itself when a lens run is asked for, inserted or ended.

-- Pins a request to one version of its lens and keeps a copy of what will be run.
CREATE FUNCTION execution.fn_snapshot_request() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    lens lenses.lenses;
    version lenses.versions;
BEGIN
    IF NEW.lens_id IS NULL THEN
        RETURN NEW;
    END IF;
    SELECT * INTO lens FROM lenses.lenses WHERE id = NEW.lens_id;
    IF lens.archived_at IS NOT NULL OR lens.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'Lens % is archived or deleted', NEW.lens_id USING ERRCODE = '42501';
    END IF;

    IF NEW.version_id IS NULL THEN
        SELECT id INTO NEW.version_id
        FROM lenses.versions
        WHERE lens_id = NEW.lens_id AND status = 'published'
        ORDER BY version_number DESC
        LIMIT 1;
        NEW.version_id := coalesce(NEW.version_id, lens.head_version_id);
    END IF;
    SELECT * INTO version FROM lenses.versions WHERE id = NEW.version_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Lens % has no version to run', NEW.lens_id USING ERRCODE = '42501';
    END IF;

    NEW.lens_content_hash := encode(sha256(convert_to(version.template_body, 'UTF8')), 'hex');
    NEW.resolved_artifact_snapshot := jsonb_build_object(
        'lens_id', version.lens_id,
        'version_id', version.id,
        'version_number', version.version_number,
        'template_body', version.template_body
    );
    NEW.resolved_artifact_snapshot_hash :=
        encode(sha256(convert_to(NEW.resolved_artifact_snapshot::text, 'UTF8')), 'hex');
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_requests_resolve_lens_snapshot BEFORE INSERT ON execution.requests
    FOR EACH ROW EXECUTE FUNCTION execution.fn_snapshot_request();

CREATE FUNCTION execution.fn_audit_created_runs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id, actor_lenser_id, payload)
    SELECT 'execution.created', 'execution', 'runs', run.id, request.requester_lenser_id,
           jsonb_build_object('request_id', run.request_id, 'status', run.status)
    FROM created_runs AS run
    JOIN execution.requests AS request ON request.id = run.request_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_audit_execution_run_created AFTER INSERT ON execution.runs
    REFERENCING NEW TABLE AS created_runs
    FOR EACH STATEMENT EXECUTE FUNCTION execution.fn_audit_created_runs();

CREATE FUNCTION execution.fn_stamp_completed_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.completed_at := coalesce(NEW.completed_at, now());
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_runs_set_completed_at BEFORE UPDATE ON execution.runs
    FOR EACH ROW
    WHEN (NEW.status IN ('succeeded', 'failed', 'canceled', 'timed_out') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION execution.fn_stamp_completed_at();

CREATE FUNCTION execution.fn_audit_artifact_visibility() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id, payload)
    VALUES ('artifact.visibility_changed', 'execution', 'artifacts', NEW.id,
            jsonb_build_object('from', OLD.visibility, 'to', NEW.visibility));
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_audit_artifact_visibility AFTER UPDATE OF visibility ON execution.artifacts
    FOR EACH ROW WHEN (NEW.visibility <> OLD.visibility)
    EXECUTE FUNCTION execution.fn_audit_artifact_visibility();
