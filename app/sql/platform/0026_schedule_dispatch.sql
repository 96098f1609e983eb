-- Making runs of the schedules that are due.

-- Whether a cron expression holds at a minute: five fields of *, numbers, lists, ranges and steps, all of
-- which must match. There are no names; an expression that can't be read never holds.
CREATE FUNCTION lenses.fn_cron_matches_now(p_cron_expr text, p_now timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_fields text[] := regexp_split_to_array(btrim(p_cron_expr), '\s+');
    v_now integer[] := ARRAY[extract(minute FROM p_now), extract(hour FROM p_now), extract(day FROM p_now),
                             extract(month FROM p_now), extract(dow FROM p_now)];
    v_lowest integer[] := ARRAY[0, 0, 1, 1, 0];
    v_highest integer[] := ARRAY[59, 23, 31, 12, 7];
    v_part text;
    v_found text[];
    v_from integer;
    v_to integer;
    v_holds boolean;
BEGIN
    IF cardinality(v_fields) <> 5 THEN
        RETURN false;
    END IF;
    FOR i IN 1..5 LOOP
        v_holds := false;
        FOREACH v_part IN ARRAY string_to_array(v_fields[i], ',') LOOP
            v_found := regexp_match(v_part, '^(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?$');
            IF v_found IS NULL THEN
                RETURN false;
            END IF;
            v_from := coalesce(v_found[2]::integer, v_lowest[i]);
            v_to := coalesce(v_found[3]::integer, CASE WHEN v_found[2] IS NULL THEN v_highest[i] ELSE v_from END);
            v_holds := v_holds
                OR (v_now[i] BETWEEN v_from AND v_to OR (i = 5 AND v_now[i] = 0 AND v_to = 7))
                   AND v_now[i] % greatest(coalesce(v_found[4]::integer, 1), 1) = 0;
        END LOOP;
        IF NOT v_holds THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;

-- Whether a calendar lets a schedule run on the day that `p_now` is in the calendar's zone; an unknown
-- calendar does.
CREATE FUNCTION lenses.fn_check_calendar(p_calendar_id uuid, p_now timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_calendar lenses.schedule_calendars;
    v_listed boolean;
BEGIN
    SELECT * INTO v_calendar FROM lenses.schedule_calendars WHERE id = p_calendar_id;
    IF v_calendar.id IS NULL THEN
        RETURN true;
    END IF;
    v_listed := (p_now AT TIME ZONE v_calendar.timezone)::date = ANY (v_calendar.dates);
    RETURN CASE v_calendar.kind WHEN 'skip_dates' THEN NOT v_listed ELSE v_listed END;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN true;
END
$$;

-- Who a schedule's runs are for: the agent, and the team if it is one; no row when there is nobody.
CREATE FUNCTION lenses.fn_schedule_assignee(p_schedule_id uuid) RETURNS TABLE (ai_lenser_id uuid, team_id uuid)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(agent.id, team.ai_lenser_id), team.id
    FROM lenses.workflow_schedules AS schedule
    LEFT JOIN agents.ai_lensers AS agent
        ON schedule.assignee_type = 'agent' AND agent.id = schedule.assignee_id
    LEFT JOIN agents.teams AS team ON schedule.assignee_type = 'team' AND team.id = schedule.assignee_id
    WHERE schedule.id = p_schedule_id AND (agent.id IS NOT NULL OR team.id IS NOT NULL)
$$;

CREATE FUNCTION lenses.fn_note_dispatch(
    p_schedule_id uuid, p_ai_lenser_id uuid, p_status text, p_message text, p_result text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE lenses.workflow_schedules
    SET last_dispatch_status = p_status, last_error_at = now(), last_error_message = p_message
    WHERE id = p_schedule_id;
    IF p_ai_lenser_id IS NOT NULL THEN
        INSERT INTO agents.action_logs (ai_lenser_id, action_type, context_ref_type, context_ref_id, result, metadata)
        VALUES (p_ai_lenser_id, 'schedule_skipped', 'workflow_schedule', p_schedule_id, p_result,
                jsonb_build_object('status', p_status));
    END IF;
END
$$;

-- The gate that stops a schedule now: its status, a message, and the word for the agent's log.
CREATE FUNCTION lenses.fn_schedule_gate(
    p_schedule lenses.workflow_schedules, p_ai_lenser_id uuid, OUT status text, OUT message text, OUT result text
)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_limit bigint;
    v_allowed integer;
    v_stats jsonb;
BEGIN
    SELECT nullif(policy.spending_limit_credits, 0) INTO v_limit FROM agents.policies AS policy
    WHERE policy.ai_lenser_id = p_ai_lenser_id;
    IF v_limit <= (SELECT spent.credits_spent FROM agents.quota_snapshots AS spent
                   WHERE spent.ai_lenser_id = p_ai_lenser_id AND spent.period_date = current_date) THEN
        SELECT 'budget_exceeded', 'daily spending limit reached', 'blocked_by_policy' INTO status, message, result;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM lenses.workflow_runs AS run
               WHERE run.schedule_id = p_schedule.id AND run.status IN (
                   'draft', 'validated', 'queued', 'pending', 'pending_approval', 'running', 'streaming', 'recovered')
    ) THEN
        SELECT 'skipped_overlap', 'overlap_in_flight', 'throttled' INTO status, message, result;
        RETURN;
    END IF;
    IF NOT lenses.fn_check_calendar(p_schedule.calendar_id) THEN
        SELECT 'skipped_calendar', 'calendar', 'throttled' INTO status, message, result;
        RETURN;
    END IF;
    SELECT jsonb_build_object(
        'succeeded', count(*) FILTER (WHERE run.status = 'completed'),
        'failed', count(*) FILTER (WHERE run.status IN ('failed', 'timed_out')), 'total', count(*))
    INTO v_stats FROM lenses.workflow_runs AS run
    WHERE run.schedule_id = p_schedule.id AND run.created_at > now() - interval '24 hours';
    IF p_schedule.pre_dispatch_condition IS NOT NULL AND NOT automation.fn_eval_filter(
        p_schedule.pre_dispatch_condition,
        jsonb_build_object('prior_run_result', (
            SELECT run.metadata -> 'result' FROM lenses.workflow_runs AS run WHERE run.id = p_schedule.last_run_id),
            'last_24h_stats', v_stats, 'signal_rpc_result', NULL)
    ) THEN
        SELECT 'skipped_condition', 'pre_dispatch_condition', 'throttled' INTO status, message, result;
        RETURN;
    END IF;
    IF (p_schedule.queue_policy ->> 'max_concurrent')::integer <= (
        SELECT count(*) FROM lenses.workflow_runs AS run WHERE run.schedule_id = p_schedule.id
           AND run.status IN ('pending', 'running', 'streaming', 'queued', 'pending_approval')) THEN
        SELECT 'skipped_concurrency', 'max_concurrent', 'throttled' INTO status, message, result;
        RETURN;
    END IF;
    v_allowed := coalesce(p_schedule.retry_policy ->> 'max_attempts', p_schedule.retry_policy ->> 'maxRetries')::integer;
    IF v_allowed > 0 AND v_allowed < lenses.fn_consecutive_failures(p_schedule.id) THEN
        SELECT 'skipped_max_attempts', 'max_attempts', 'throttled' INTO status, message, result;
    END IF;
END
$$;

-- How many runs of a schedule failed since one was completed.
CREATE FUNCTION lenses.fn_consecutive_failures(p_schedule_id uuid) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT count(*) FROM lenses.workflow_runs AS run
    WHERE run.schedule_id = p_schedule_id AND run.status IN ('failed', 'timed_out')
      AND run.created_at > coalesce((
          SELECT max(done.created_at) FROM lenses.workflow_runs AS done
          WHERE done.schedule_id = p_schedule_id AND done.status = 'completed'), '-infinity')
$$;

-- Insert the run of a schedule for this minute, with its nodes and, for an assignee, its team run.
CREATE FUNCTION lenses.fn_dispatch_schedule(
    p_schedule lenses.workflow_schedules, p_ai_lenser_id uuid, p_team_id uuid
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_needs_approval boolean := coalesce((p_schedule.approval_policy ->> 'requiresApproval')::boolean, true);
    v_inputs jsonb := p_schedule.inputs_template;
    v_minute timestamptz := date_trunc('minute', now());
    v_run uuid;
    v_team_run uuid;
BEGIN
    IF jsonb_array_length(p_schedule.inputs_rotation) > 0 THEN
        v_inputs := p_schedule.inputs_rotation
            -> (p_schedule.last_rotation_index % jsonb_array_length(p_schedule.inputs_rotation));
    END IF;
    INSERT INTO lenses.workflow_runs (
        workflow_id, triggered_by, status, trigger_mode, schedule_id, scheduled_for, context_inputs, global_model_id
    )
    SELECT workflow.id, workflow.lenser_id, CASE WHEN v_needs_approval THEN 'pending_approval' ELSE 'pending' END,
           'schedule', p_schedule.id, v_minute, v_inputs, p_schedule.global_model_id
    FROM lenses.workflows AS workflow WHERE workflow.id = p_schedule.workflow_id
    RETURNING id INTO v_run;
    INSERT INTO lenses.workflow_node_results (run_id, node_id)
    SELECT v_run, node.id FROM lenses.workflow_nodes AS node WHERE node.workflow_id = p_schedule.workflow_id;
    IF p_ai_lenser_id IS NOT NULL THEN
        INSERT INTO agents.team_runs (
            ai_lenser_id, team_id, workflow_id, workflow_run_id, workflow_assignment_id, status, approval_status,
            metadata)
        VALUES (p_ai_lenser_id, p_team_id, p_schedule.workflow_id, v_run, p_schedule.workflow_assignment_id,
                CASE WHEN v_needs_approval THEN 'blocked' ELSE 'queued' END,
                CASE WHEN v_needs_approval THEN 'pending' ELSE 'not_required' END,
                jsonb_build_object('schedule_id', p_schedule.id, 'scheduled_for', v_minute,
                                   'cron_expr', p_schedule.cron_expr))
        RETURNING id INTO v_team_run;
        INSERT INTO agents.agent_run_events (team_run_id, event_type)
        VALUES (v_team_run, CASE WHEN v_needs_approval THEN 'approval_requested' ELSE 'dispatch_queued' END);
    END IF;
    UPDATE lenses.workflow_schedules
    SET last_run_at = now(), last_run_id = v_run, last_dispatch_status = 'dispatched',
        last_rotation_index = last_rotation_index + (inputs_rotation IS NOT NULL)::integer
    WHERE id = p_schedule.id;
END
$$;

CREATE FUNCTION lenses.fn_dispatch_scheduled_workflows() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_schedule lenses.workflow_schedules;
    v_agent uuid;
    v_team uuid;
    v_gate record;
    v_count integer := 0;
BEGIN
    IF public.fn_kill_switch_active('system')
       OR (SELECT control.queue_frozen FROM admin.execution_control AS control) THEN
        RETURN 0;
    END IF;
    FOR v_schedule IN
        SELECT * FROM lenses.workflow_schedules AS schedule
        WHERE schedule.is_active
          AND (schedule.last_run_at IS NULL OR schedule.last_run_at < date_trunc('minute', now()))
          AND lenses.fn_cron_matches_now(schedule.cron_expr)
        ORDER BY schedule.created_at FOR UPDATE OF schedule SKIP LOCKED
    LOOP
        SELECT assignee.ai_lenser_id, assignee.team_id INTO v_agent, v_team
        FROM lenses.fn_schedule_assignee(v_schedule.id) AS assignee;
        SELECT * INTO v_gate FROM lenses.fn_schedule_gate(v_schedule, v_agent);
        IF v_gate.status IS NOT NULL THEN
            PERFORM lenses.fn_note_dispatch(v_schedule.id, v_agent, v_gate.status, v_gate.message, v_gate.result);
            CONTINUE;
        END IF;
        BEGIN
            PERFORM lenses.fn_dispatch_schedule(v_schedule, v_agent, v_team);
            v_count := v_count + 1;
        EXCEPTION
            WHEN unique_violation THEN
                PERFORM lenses.fn_note_dispatch(
                    v_schedule.id, v_agent, 'skipped_overlap', 'schedule_slot_exists', 'throttled');
            WHEN OTHERS THEN
                PERFORM lenses.fn_note_dispatch(v_schedule.id, v_agent, 'dispatch_failed', SQLERRM, 'failed');
        END;
    END LOOP;
    RETURN v_count;
END
$$;

CREATE FUNCTION lenses.fn_dispatch_scheduled_workflows_safe() RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    SELECT automation.fn_run_with_lock(
        'dispatch-scheduled-workflows', 'SELECT lenses.fn_dispatch_scheduled_workflows()')
$$;

CREATE FUNCTION public.fn_dispatch_scheduled_workflows_with_approval() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF (SELECT flag.value FROM platform.system_flags AS flag WHERE flag.key = 'autonomy_dispatch_enabled')
       IS DISTINCT FROM 'false' THEN
        RETURN lenses.fn_dispatch_scheduled_workflows();
    END IF;
    RETURN 0;
END
$$;
