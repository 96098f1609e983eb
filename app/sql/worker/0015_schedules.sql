-- Schedules: making the runs that are due, once per schedule and minute whoever else does the same.

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

-- Whether a calendar lets a run begin today, in its own zone. An unknown calendar or zone does.
CREATE FUNCTION worker.fn_calendar_allows(p_calendar_id uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_calendar lenses.schedule_calendars;
BEGIN
    SELECT * INTO v_calendar FROM lenses.schedule_calendars c WHERE c.id = p_calendar_id;
    RETURN v_calendar.id IS NULL OR ((now() AT TIME ZONE v_calendar.timezone)::date = ANY (v_calendar.dates))
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

-- The first gate that stops a schedule now, as its dispatch status and a message; both null when none does.
CREATE FUNCTION worker.fn_schedule_gate(
    p_schedule lenses.workflow_schedules, p_ai_lenser_id uuid, OUT status text, OUT message text
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
    ELSIF NOT worker.fn_calendar_allows(p_schedule.calendar_id) THEN
        SELECT 'skipped_calendar', 'not a day of its calendar' INTO status, message;
    ELSIF NOT worker.fn_schedule_condition_holds(p_schedule) THEN
        SELECT 'skipped_condition', 'its condition does not hold' INTO status, message;
    ELSIF v_retries > 0 AND worker.fn_consecutive_failures(p_schedule.id) > v_retries THEN
        SELECT 'skipped_max_attempts', 'too many failures in a row' INTO status, message;
    END IF;
EXCEPTION WHEN OTHERS THEN
    SELECT 'condition_failed', SQLERRM INTO status, message;
END $$;

-- Keep what became of a schedule's minute; in the agent's log, in the words that the platform has for it.
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

-- Insert the run of a schedule for this minute, its nodes and, for an assignee, its team run. What needs
-- approval waits for it in both rows.
CREATE FUNCTION worker.fn_dispatch_schedule(
    p_schedule lenses.workflow_schedules, p_ai_lenser_id uuid, p_team_id uuid
) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_needs_approval boolean := coalesce((p_schedule.approval_policy ->> 'requiresApproval')::boolean, true);
    v_inputs jsonb := p_schedule.inputs_template;
    v_rotates boolean := coalesce(
        jsonb_typeof(p_schedule.inputs_rotation) = 'array' AND p_schedule.inputs_rotation <> '[]', false);
    v_minute timestamptz := date_trunc('minute', now());
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
           p_schedule.id, v_minute, v_inputs, p_schedule.global_model_id, p_ai_lenser_id
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
            jsonb_build_object('schedule_id', p_schedule.id, 'scheduled_for', v_minute,
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

-- Make the runs of all schedules that are due in this minute and say how many there are. Schedules that the
-- platform's own dispatcher has served in this minute are left alone; one that goes wrong stops no other.
CREATE FUNCTION worker.fn_dispatch_scheduled_workflows() RETURNS integer
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_schedule lenses.workflow_schedules;
    v_assignee record;
    v_gate record;
    v_count integer := 0;
BEGIN
    IF fn_kill_switch_active('system')
       OR coalesce((SELECT c.queue_frozen FROM admin.execution_control c WHERE c.id = 1), false) THEN
        RETURN 0;
    END IF;
    FOR v_schedule IN
        SELECT * FROM lenses.workflow_schedules s
        WHERE s.is_active AND (s.last_run_at IS NULL OR s.last_run_at < date_trunc('minute', now()))
          AND lenses.fn_cron_matches_now(s.cron_expr)
        ORDER BY s.created_at FOR UPDATE OF s SKIP LOCKED
    LOOP
        v_assignee := worker.fn_schedule_assignee(v_schedule.assignee_type, v_schedule.assignee_id);
        v_gate := worker.fn_schedule_gate(v_schedule, v_assignee.ai_lenser_id);
        IF v_gate.status IS NOT NULL THEN
            PERFORM worker.fn_note_dispatch(
                v_schedule.id, v_assignee.ai_lenser_id, v_gate.status, v_gate.message);
            CONTINUE;
        END IF;
        BEGIN
            PERFORM worker.fn_dispatch_schedule(v_schedule, v_assignee.ai_lenser_id, v_assignee.team_id);
            v_count := v_count + 1;
        EXCEPTION
            WHEN unique_violation THEN
                PERFORM worker.fn_note_dispatch(
                    v_schedule.id, v_assignee.ai_lenser_id, 'skipped_overlap', 'schedule_slot_exists');
            WHEN OTHERS THEN
                PERFORM worker.fn_note_dispatch(
                    v_schedule.id, v_assignee.ai_lenser_id, 'dispatch_failed', SQLERRM);
        END;
    END LOOP;
    RETURN v_count;
END $$;

-- The same under the lock that the platform's own cron takes; null when that is at it just now.
CREATE FUNCTION worker.dispatch_schedules_once() RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('cron:dispatch-scheduled-workflows')) THEN
        RETURN NULL;
    END IF;
    RETURN worker.fn_dispatch_scheduled_workflows();
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
