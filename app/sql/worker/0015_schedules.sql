-- Schedules: making the runs that are due, once per schedule and slot whoever else does the same. A slot is a
-- minute at which a schedule's expression holds in its time zone. Python reads expressions; which slot comes
-- next is kept here, so that one that passes while nothing runs is found later.

CREATE TABLE worker.schedule_plans (
    schedule_id uuid PRIMARY KEY,
    -- what was read; a schedule that says something else has no plan
    cron_expr text NOT NULL,
    timezone text NOT NULL,
    next_slot timestamptz,  -- null: none ever comes, and `problem` says why
    problem text,
    -- whether the platform's own dispatcher reads the expression differently, and how; null until compared
    is_compared boolean NOT NULL DEFAULT false,
    difference text,
    -- whether the platform's own dispatcher would make runs at other times too
    has_surplus boolean NOT NULL DEFAULT false
);

CREATE INDEX schedule_plans_due ON worker.schedule_plans (next_slot);

-- Who a schedule's runs are for; both null when there is nobody.
CREATE FUNCTION worker.fn_schedule_assignee(p_type text, p_id uuid, OUT ai_lenser_id uuid, OUT team_id uuid)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    IF p_type = 'team' THEN
        SELECT t.ai_lenser_id, t.id INTO ai_lenser_id, team_id FROM agents.teams t WHERE t.id = p_id;
    ELSE
        SELECT a.id INTO ai_lenser_id FROM agents.ai_lensers a WHERE a.id = p_id;
    END IF;
END $$;

-- Whether a calendar lets a run be due at a time, by the day in its own zone. An unknown calendar or zone does.
CREATE FUNCTION worker.fn_calendar_allows(p_calendar_id uuid, p_slot timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_calendar lenses.schedule_calendars;
BEGIN
    SELECT * INTO v_calendar FROM lenses.schedule_calendars c WHERE c.id = p_calendar_id;
    RETURN v_calendar.id IS NULL OR ((p_slot AT TIME ZONE v_calendar.timezone)::date = ANY (v_calendar.dates))
        = (v_calendar.kind = 'only_dates');
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN true;
END $$;

-- How many of a schedule's runs failed since one was completed.
CREATE FUNCTION worker.fn_consecutive_failures(p_schedule_id uuid) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT count(*) FROM lenses.workflow_runs r
    WHERE r.schedule_id = p_schedule_id AND r.status IN ('failed', 'timed_out')
      AND NOT EXISTS (SELECT FROM lenses.workflow_runs d WHERE d.schedule_id = p_schedule_id
                      AND d.status = 'completed' AND d.created_at >= r.created_at)
$$;

CREATE FUNCTION worker.fn_schedule_condition_holds(p_schedule lenses.workflow_schedules) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_subject jsonb;
BEGIN
    IF p_schedule.pre_dispatch_condition IS NULL THEN
        RETURN true;
    END IF;
    SELECT jsonb_build_object(
        'prior_run_result', (SELECT p.metadata -> 'result' FROM lenses.workflow_runs p WHERE p.id = p_schedule.last_run_id),
        'last_24h_stats', jsonb_build_object(
            'succeeded', count(*) FILTER (WHERE r.status = 'completed'),
            'failed', count(*) FILTER (WHERE r.status IN ('failed', 'timed_out')), 'total', count(*)),
        'signal_rpc_result', NULL)
    INTO v_subject FROM lenses.workflow_runs r
    WHERE r.schedule_id = p_schedule.id AND r.created_at > now() - interval '24 hours';
    RETURN automation.fn_eval_filter(p_schedule.pre_dispatch_condition, v_subject);
END $$;

-- The first gate that stops a schedule's slot, as its dispatch status and a message; both null when none does.
CREATE FUNCTION worker.fn_schedule_gate(
    p_schedule lenses.workflow_schedules, p_ai_lenser_id uuid, p_slot timestamptz,
    OUT status text, OUT message text
)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_open integer;
    v_retries integer;
BEGIN
    v_retries := coalesce(p_schedule.retry_policy ->> 'max_attempts', p_schedule.retry_policy ->> 'maxRetries');
    SELECT count(*) INTO v_open FROM lenses.workflow_runs r
    WHERE r.schedule_id = p_schedule.id AND r.status IN (
        'draft', 'validated', 'queued', 'pending', 'pending_approval', 'running', 'streaming', 'recovered');
    IF EXISTS (SELECT FROM agents.policies p JOIN agents.quota_snapshots q USING (ai_lenser_id)
               WHERE p.ai_lenser_id = p_ai_lenser_id AND p.spending_limit_credits > 0
                 AND q.period_date = current_date AND q.credits_spent >= p.spending_limit_credits) THEN
        SELECT 'budget_exceeded', 'daily spending limit reached' INTO status, message;
    ELSIF v_open > 0 THEN
        SELECT 'skipped_overlap', 'overlap_in_flight' INTO status, message;
    ELSIF NOT worker.fn_calendar_allows(p_schedule.calendar_id, p_slot) THEN
        SELECT 'skipped_calendar', 'not a day of its calendar' INTO status, message;
    ELSIF NOT worker.fn_schedule_condition_holds(p_schedule) THEN
        SELECT 'skipped_condition', 'its condition does not hold' INTO status, message;
    ELSIF v_retries > 0 AND worker.fn_consecutive_failures(p_schedule.id) > v_retries THEN
        SELECT 'skipped_max_attempts', 'too many failures in a row' INTO status, message;
    END IF;
EXCEPTION
    -- These tell nothing of the schedule; its slot stays due.
    WHEN transaction_rollback OR insufficient_resources OR object_not_in_prerequisite_state
        OR operator_intervention OR read_only_sql_transaction THEN
        RAISE;
    WHEN OTHERS THEN
        SELECT 'condition_failed', SQLERRM INTO status, message;
END $$;

-- Keep what became of a schedule's slot; in the agent's log, in the words that the platform has for it.
CREATE FUNCTION worker.fn_note_dispatch(
    p_schedule_id uuid, p_ai_lenser_id uuid, p_status text, p_message text
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE lenses.workflow_schedules s
    SET last_dispatch_status = p_status, last_error_at = now(), last_error_message = p_message
    WHERE s.id = p_schedule_id;
    IF p_ai_lenser_id IS NOT NULL THEN
        INSERT INTO agents.action_logs (ai_lenser_id, action_type, context_ref_type, context_ref_id, result, metadata)
        VALUES (p_ai_lenser_id, 'schedule_skipped', 'workflow_schedule', p_schedule_id,
                CASE WHEN p_status IN ('dispatch_failed', 'condition_failed') THEN 'failed'
                     WHEN p_status = 'budget_exceeded' THEN 'blocked_by_policy' ELSE 'throttled' END,
                jsonb_build_object('status', p_status, 'message', p_message));
    END IF;
END $$;

-- Insert the run of a schedule for a slot, its nodes and, for an assignee, its team run. What needs approval
-- waits for it in both rows.
CREATE FUNCTION worker.fn_dispatch_schedule(
    p_schedule lenses.workflow_schedules, p_slot timestamptz, p_ai_lenser_id uuid, p_team_id uuid
) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_needs_approval boolean := coalesce((p_schedule.approval_policy ->> 'requiresApproval')::boolean, true);
    v_inputs jsonb := p_schedule.inputs_template;
    v_rotates boolean := coalesce(
        jsonb_typeof(p_schedule.inputs_rotation) = 'array' AND p_schedule.inputs_rotation <> '[]', false);
    v_run uuid;
    v_team_run uuid;
BEGIN
    IF v_rotates THEN
        v_inputs := p_schedule.inputs_rotation
            -> (p_schedule.last_rotation_index % jsonb_array_length(p_schedule.inputs_rotation));
    END IF;
    INSERT INTO lenses.workflow_runs (
        workflow_id, triggered_by, status, trigger_mode, schedule_id, scheduled_for, context_inputs,
        global_model_id, ai_lenser_id)
    SELECT w.id, w.lenser_id, CASE WHEN v_needs_approval THEN 'pending_approval' ELSE 'pending' END, 'schedule',
           p_schedule.id, p_slot, v_inputs, p_schedule.global_model_id, p_ai_lenser_id
    FROM lenses.workflows w
    WHERE w.id = p_schedule.workflow_id AND w.archived_at IS NULL AND w.deleted_at IS NULL
    RETURNING id INTO v_run;
    IF v_run IS NULL THEN
        RAISE EXCEPTION 'the workflow is archived or deleted';
    END IF;
    INSERT INTO lenses.workflow_node_results (run_id, node_id)
    SELECT v_run, n.id FROM lenses.workflow_nodes n WHERE n.workflow_id = p_schedule.workflow_id;
    IF p_ai_lenser_id IS NOT NULL THEN
        INSERT INTO agents.team_runs (
            ai_lenser_id, team_id, workflow_id, workflow_run_id, workflow_assignment_id, status, approval_status, metadata)
        VALUES (
            p_ai_lenser_id, p_team_id, p_schedule.workflow_id, v_run, p_schedule.workflow_assignment_id,
            CASE WHEN v_needs_approval THEN 'blocked' ELSE 'queued' END,
            CASE WHEN v_needs_approval THEN 'pending' ELSE 'not_required' END,
            jsonb_build_object('schedule_id', p_schedule.id, 'scheduled_for', p_slot,
                               'cron_expr', p_schedule.cron_expr))
        RETURNING id INTO v_team_run;
        INSERT INTO agents.agent_run_events (team_run_id, event_type)
        VALUES (v_team_run, CASE WHEN v_needs_approval THEN 'approval_requested' ELSE 'dispatch_queued' END);
    END IF;
    UPDATE lenses.workflow_schedules s
    SET last_run_at = now(), last_run_id = v_run, last_dispatch_status = 'dispatched',
        last_rotation_index = s.last_rotation_index + v_rotates::integer
    WHERE s.id = p_schedule.id;
    RETURN v_run;
END $$;

-- Whether the platform's own dispatcher has run in the last minutes, as its cron has it do every minute.
CREATE FUNCTION worker.fn_platform_dispatches() RETURNS boolean
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT EXISTS (SELECT FROM automation.cron_runs c
                   WHERE c.job_name = 'dispatch-scheduled-workflows' AND c.status <> 'skipped_locked'
                     AND c.started_at > now() - interval '5 minutes')
$$;

-- Which values of each field the platform's own matcher accepts; no row for an expression that it can't read.
-- It asks that all five fields match, so each can be looked at alone.
CREATE FUNCTION worker.fn_platform_cron_fields(p_cron_expr text) RETURNS TABLE (field text, value integer)
LANGUAGE plpgsql STABLE SET search_path = '' SET timezone = 'UTC' AS $$
DECLARE
    v_fields text[] := regexp_split_to_array(btrim(p_cron_expr), '\s+');
BEGIN
    IF cardinality(v_fields) <> 5 THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT tried.field, tried.value
    FROM (SELECT 'minute', m, v_fields[1] || ' * * * *', timestamptz '2024-01-01' + m * interval '1 minute'
          FROM generate_series(0, 59) AS m
          UNION ALL SELECT 'hour', h, '* ' || v_fields[2] || ' * * *', timestamptz '2024-01-01' + h * interval '1 hour'
          FROM generate_series(0, 23) AS h
          UNION ALL SELECT 'day', d, '* * ' || v_fields[3] || ' * *', timestamptz '2023-12-31' + d * interval '1 day'
          FROM generate_series(1, 31) AS d
          UNION ALL SELECT 'month', m, '* * * ' || v_fields[4] || ' *', make_timestamptz(2024, m, 1, 0, 0, 0)
          FROM generate_series(1, 12) AS m
          UNION ALL  -- 2023 began on a Sunday
          SELECT 'weekday', w, '* * * * ' || v_fields[5], timestamptz '2023-01-01' + w * interval '1 day'
          FROM generate_series(0, 6) AS w) AS tried (field, value, cron_expr, at)
    WHERE lenses.fn_cron_matches_now(tried.cron_expr, tried.at);
EXCEPTION WHEN data_exception OR raise_exception THEN
    RETURN;
END $$;

-- Whether all schedules wait: for the kill switch to be lifted, or for the queue to be opened.
CREATE FUNCTION worker.fn_schedules_wait() RETURNS boolean
LANGUAGE sql STABLE SET search_path = worker, public AS $$
    SELECT fn_kill_switch_active('system')
        OR coalesce((SELECT c.queue_frozen FROM admin.execution_control c WHERE c.id = 1), false)
$$;

-- What is to be done now: schedules without a plan, and those whose slot has come, unless all wait. Plans of
-- schedules that were switched off or deleted are forgotten.
CREATE FUNCTION worker.due_schedules() RETURNS TABLE (
    schedule_id uuid, cron_expr text, timezone text, created_at timestamptz, planned_slot timestamptz,
    on_missed text, checked_at timestamptz
)
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_waits boolean := worker.fn_schedules_wait();
BEGIN
    DELETE FROM worker.schedule_plans p
    WHERE NOT EXISTS (SELECT FROM lenses.workflow_schedules s WHERE s.id = p.schedule_id AND s.is_active);
    RETURN QUERY
    SELECT s.id, s.cron_expr, s.timezone, s.created_at, p.next_slot, s.queue_policy ->> 'onMissed', now()
    FROM lenses.workflow_schedules s
    LEFT JOIN worker.schedule_plans p
        ON p.schedule_id = s.id AND p.cron_expr = s.cron_expr AND p.timezone = s.timezone
    WHERE s.is_active AND (p.schedule_id IS NULL OR (p.next_slot <= now() AND NOT v_waits))
    ORDER BY p.next_slot NULLS LAST, s.created_at;
END $$;

-- Keep which slot of a schedule comes next, or why none ever does; the platform's pages show both. Nothing
-- is kept for a schedule that says something else by now, or that another process has planned.
CREATE FUNCTION worker.plan_schedule(
    p_schedule_id uuid, p_cron_expr text, p_timezone text, p_next_slot timestamptz, p_problem text
) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_old_problem text;
BEGIN
    PERFORM FROM lenses.workflow_schedules s
    WHERE s.id = p_schedule_id AND s.is_active AND s.cron_expr = p_cron_expr AND s.timezone = p_timezone FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT coalesce(p.problem, p.difference) INTO v_old_problem
    FROM worker.schedule_plans p WHERE p.schedule_id = p_schedule_id;
    INSERT INTO worker.schedule_plans AS p (schedule_id, cron_expr, timezone, next_slot, problem)
    VALUES (p_schedule_id, p_cron_expr, p_timezone, p_next_slot, p_problem)
    ON CONFLICT (schedule_id) DO UPDATE
    SET cron_expr = p_cron_expr, timezone = p_timezone, next_slot = p_next_slot, problem = p_problem,
        is_compared = false, difference = NULL, has_surplus = false
    WHERE (p.cron_expr, p.timezone) <> (p_cron_expr, p_timezone);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE lenses.workflow_schedules s SET next_run_at = p_next_slot WHERE s.id = p_schedule_id;
    IF p_problem IS NOT NULL THEN
        UPDATE lenses.workflow_schedules s
        SET last_dispatch_status = 'validation_failed', last_error_at = now(), last_error_message = p_problem
        WHERE s.id = p_schedule_id;
    ELSE
        -- What was said of the old expression is not true of this one.
        UPDATE lenses.workflow_schedules s
        SET last_dispatch_status = nullif(s.last_dispatch_status, 'validation_failed'),
            last_error_at = NULL, last_error_message = NULL
        WHERE s.id = p_schedule_id AND s.last_error_message = v_old_problem;
    END IF;
    RETURN true;
END $$;

-- Plans that nobody has compared with the platform's own reading.
CREATE FUNCTION worker.uncompared_schedules(p_most integer) RETURNS TABLE (cron_expr text, timezone text)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT DISTINCT p.cron_expr, p.timezone FROM worker.schedule_plans p WHERE NOT p.is_compared LIMIT p_most
$$;

-- Keep how the platform's own dispatcher reads an expression; where it differs, its schedules say so.
CREATE FUNCTION worker.keep_comparison(
    p_cron_expr text, p_timezone text, p_difference text, p_has_surplus boolean
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_schedules uuid[];
BEGIN
    -- Schedules are locked before their plans everywhere.
    SELECT array_agg(locked.id) INTO v_schedules
    FROM (SELECT s.id FROM lenses.workflow_schedules s JOIN worker.schedule_plans p ON p.schedule_id = s.id
          WHERE p.cron_expr = p_cron_expr AND p.timezone = p_timezone AND NOT p.is_compared
          ORDER BY s.id FOR UPDATE OF s) AS locked;
    UPDATE worker.schedule_plans p
    SET is_compared = true, difference = p_difference, has_surplus = p_has_surplus
    WHERE p.cron_expr = p_cron_expr AND p.timezone = p_timezone AND p.schedule_id = ANY (v_schedules);
    IF p_difference IS NOT NULL THEN
        UPDATE lenses.workflow_schedules s SET last_error_at = now(), last_error_message = p_difference
        WHERE s.id = ANY (v_schedules);
    END IF;
END $$;

-- Do what is due of a schedule whose plan says `p_planned`: make the run of `p_slot` unless a gate stops it or
-- it is only to be noted, and wait for `p_next`. `p_missed` tells of slots that passed while nothing ran.
-- Gives what became of it; null when another process has done it, the schedule has changed, or all wait.
CREATE FUNCTION worker.dispatch_slot(
    p_schedule_id uuid, p_planned timestamptz, p_slot timestamptz, p_next timestamptz, p_runs boolean, p_missed text
) RETURNS text
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_schedule lenses.workflow_schedules;
    v_plan worker.schedule_plans;
    v_assignee record;
    v_gate record;
BEGIN
    IF worker.fn_schedules_wait() THEN
        RETURN NULL;
    END IF;
    -- The platform's own dispatcher locks the same row.
    SELECT * INTO v_schedule FROM lenses.workflow_schedules s WHERE s.id = p_schedule_id AND s.is_active FOR UPDATE;
    UPDATE worker.schedule_plans p SET next_slot = p_next
    WHERE p.schedule_id = v_schedule.id AND p.next_slot = p_planned
      AND p.cron_expr = v_schedule.cron_expr AND p.timezone = v_schedule.timezone
    RETURNING p.* INTO v_plan;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE lenses.workflow_schedules s SET next_run_at = p_next WHERE s.id = p_schedule_id;
    IF EXISTS (SELECT FROM lenses.workflow_runs r WHERE r.schedule_id = p_schedule_id AND r.scheduled_for >= p_slot) THEN
        RETURN 'made_elsewhere';
    END IF;
    IF v_plan.has_surplus AND worker.fn_platform_dispatches() THEN
        UPDATE lenses.workflow_schedules s
        SET last_error_at = now(), last_error_message = 'left to the platform''s own dispatcher, which runs'
            ' besides the worker and ignores time zones'
        WHERE s.id = p_schedule_id;
        RETURN 'left_to_platform';
    END IF;
    v_assignee := worker.fn_schedule_assignee(v_schedule.assignee_type, v_schedule.assignee_id);
    IF NOT p_runs THEN
        PERFORM worker.fn_note_dispatch(p_schedule_id, v_assignee.ai_lenser_id, 'skipped_missed', p_missed);
        RETURN 'skipped_missed';
    END IF;
    v_gate := worker.fn_schedule_gate(v_schedule, v_assignee.ai_lenser_id, p_slot);
    IF v_gate.status IS NOT NULL THEN
        PERFORM worker.fn_note_dispatch(p_schedule_id, v_assignee.ai_lenser_id, v_gate.status,
                                        concat_ws('; ', v_gate.message, p_missed));
        RETURN v_gate.status;
    END IF;
    BEGIN
        PERFORM worker.fn_dispatch_schedule(v_schedule, p_slot, v_assignee.ai_lenser_id, v_assignee.team_id);
    EXCEPTION
        WHEN transaction_rollback OR insufficient_resources OR object_not_in_prerequisite_state
            OR operator_intervention OR read_only_sql_transaction THEN
            RAISE;
        WHEN OTHERS THEN
            PERFORM worker.fn_note_dispatch(p_schedule_id, v_assignee.ai_lenser_id, 'dispatch_failed', SQLERRM);
            RETURN 'dispatch_failed';
    END;
    IF p_missed IS NOT NULL THEN
        UPDATE lenses.workflow_schedules s SET last_error_at = now(), last_error_message = p_missed
        WHERE s.id = p_schedule_id;
    END IF;
    RETURN 'dispatched';
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
