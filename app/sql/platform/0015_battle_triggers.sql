-- What a battle may do next, and what is written down whenever it does.

CREATE FUNCTION battles.fn_guard_status() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF concat(OLD.status, ' -> ', NEW.status) NOT IN (
        'draft -> open', 'draft -> archived',
        'open -> executing', 'open -> voting', 'open -> archived',
        'executing -> voting', 'executing -> archived',
        'voting -> scoring', 'voting -> archived',
        'scoring -> closed',
        'closed -> published',
        'published -> archived'
    ) THEN
        RAISE EXCEPTION 'INVALID_STATUS_TRANSITION: % -> %', OLD.status, NEW.status;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_enforce_status_transition BEFORE UPDATE OF status ON battles.battles
    FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION battles.fn_guard_status();

-- Once a battle has left the draft, what it is about stays as it is.
CREATE FUNCTION battles.fn_guard_structure() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'The structure of battle % can''t be changed any more', OLD.id USING ERRCODE = '55000';
END
$$;

CREATE TRIGGER trg_battle_structural_immutability BEFORE UPDATE ON battles.battles
    FOR EACH ROW
    WHEN (OLD.status <> 'draft' AND (OLD.task_prompt, OLD.battle_type, OLD.max_contenders, OLD.content_type)
          IS DISTINCT FROM (NEW.task_prompt, NEW.battle_type, NEW.max_contenders, NEW.content_type))
    EXECUTE FUNCTION battles.fn_guard_structure();

CREATE FUNCTION battles.fn_touch() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_battles_updated_at BEFORE UPDATE ON battles.battles
    FOR EACH ROW EXECUTE FUNCTION battles.fn_touch();
CREATE TRIGGER trg_submissions_updated_at BEFORE UPDATE ON battles.submissions
    FOR EACH ROW EXECUTE FUNCTION battles.fn_touch();

CREATE FUNCTION battles.fn_record_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO battles.events (battle_id, event_type, metadata)
    VALUES (NEW.id, 'status_change', jsonb_build_object('from', OLD.status, 'to', NEW.status));
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_battle_status_event AFTER UPDATE OF status ON battles.battles
    FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION battles.fn_record_status();

CREATE FUNCTION battles.fn_audit_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id, payload)
    VALUES ('battle.status_changed', 'battles', 'battles', NEW.id,
            jsonb_build_object('from', OLD.status, 'to', NEW.status));
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_battle_status_audit AFTER UPDATE OF status ON battles.battles
    FOR EACH ROW WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION battles.fn_audit_status();

CREATE FUNCTION battles.fn_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RAISE EXCEPTION 'battle events are never changed or deleted';
END
$$;

CREATE TRIGGER trg_events_no_update BEFORE UPDATE ON battles.events
    FOR EACH ROW EXECUTE FUNCTION battles.fn_refuse_change();
CREATE TRIGGER trg_events_no_delete BEFORE DELETE ON battles.events
    FOR EACH ROW EXECUTE FUNCTION battles.fn_refuse_change();

CREATE FUNCTION battles.fn_check_execution_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM FROM execution.runs AS run WHERE run.id = NEW.execution_run_id AND run.status = 'succeeded';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Run % is unknown or has not succeeded', NEW.execution_run_id;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_submissions_validate_execution_link
    BEFORE INSERT OR UPDATE OF execution_run_id ON battles.submissions
    FOR EACH ROW WHEN (NEW.execution_run_id IS NOT NULL) EXECUTE FUNCTION battles.fn_check_execution_run();
