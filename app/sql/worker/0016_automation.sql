-- Automation: events of the platform meet people's rules, each pair once.

CREATE FUNCTION worker.fn_start_workflow_for_rule(
    p_rule automation.trigger_rules, p_event automation.events
) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_workflow uuid := p_rule.action_config ->> 'workflow_id';
    v_depth integer := 0;
    v_run uuid;
BEGIN
    IF p_event.source_table = 'workflow_runs' THEN
        SELECT r.recursion_depth + 1 INTO v_depth FROM lenses.workflow_runs r WHERE r.id = p_event.source_id;
    END IF;
    IF v_depth > 8 THEN
        RAISE EXCEPTION 'recursion_cap_exceeded: workflows that start each other, % deep', v_depth;
    END IF;
    INSERT INTO lenses.workflow_runs (
        workflow_id, triggered_by, status, trigger_mode, context_inputs, global_model_id, recursion_depth, metadata)
    SELECT w.id, p_rule.lenser_id, 'pending', 'api',
           coalesce(p_rule.action_config -> 'context_inputs', p_rule.action_config -> 'input_overrides', '{}'),
           nullif(trim(p_rule.action_config ->> 'global_model_id'), ''),
           coalesce(v_depth, 0), jsonb_build_object('origin', 'automation', 'rule_id', p_rule.id, 'event_id', p_event.id)
    FROM lenses.workflows w WHERE w.id = v_workflow AND w.lenser_id = p_rule.lenser_id
    RETURNING id INTO v_run;
    IF v_run IS NULL THEN
        RAISE EXCEPTION 'the rule''s owner has no workflow %', v_workflow;
    END IF;
    INSERT INTO lenses.workflow_node_results (run_id, node_id)
    SELECT v_run, n.id FROM lenses.workflow_nodes n WHERE n.workflow_id = v_workflow;
    RETURN v_run;
END $$;

-- Do what a rule says about an event; gives the webhook's row if it wrote one.
CREATE FUNCTION worker.fn_act_on_event(p_rule automation.trigger_rules, p_event automation.events) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_outbox uuid;
BEGIN
    CASE p_rule.action_kind
        WHEN 'notify' THEN
            INSERT INTO public.notifications (lenser_id, type, title, body, action_url, metadata)
            VALUES (p_rule.lenser_id, 'system',
                    coalesce(p_rule.action_config ->> 'title', p_rule.name), p_rule.action_config ->> 'body',
                    p_rule.action_config ->> 'action_url',
                    jsonb_build_object('rule_id', p_rule.id, 'event_id', p_event.id, 'event_type', p_event.event_type));
        WHEN 'webhook' THEN
            INSERT INTO audit.webhook_outbox (event_type, payload, target_url)
            VALUES ('automation.' || p_event.event_type, jsonb_build_object(
                        'webhook_version', 1, 'rule_id', p_rule.id, 'event_id', p_event.id,
                        'event_type', 'automation.' || p_event.event_type,
                        'occurred_at', p_event.occurred_at, 'payload', p_event.payload),
                    coalesce(p_rule.action_config ->> 'target_url', p_rule.action_config ->> 'url'))
            RETURNING id INTO v_outbox;
        WHEN 'dispatch_workflow' THEN
            PERFORM worker.fn_start_workflow_for_rule(p_rule, p_event);
        ELSE
            RAISE EXCEPTION 'unknown action %', p_rule.action_kind;
    END CASE;
    RETURN v_outbox;
END $$;

-- Bring events to the rules that wait for them and say how many pairs were looked at. A rule sees what happened
-- since it was made, of its owner's things and of those that are nobody's; an action that goes wrong is kept
-- as failed and stops no other.
CREATE FUNCTION worker.fn_run_dispatcher(p_limit integer DEFAULT 100) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_pair record;
    v_rule automation.trigger_rules;
    v_event automation.events;
    v_status text;
    v_error text;
    v_outbox uuid;
    v_count integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('cron:automation-dispatcher')) THEN
        RETURN 0;
    END IF;
    FOR v_pair IN
        SELECT e AS event, t AS rule FROM automation.events e
        JOIN automation.trigger_rules t ON t.match_event_type = e.event_type AND t.is_active
        WHERE e.recorded_at >= t.created_at
          AND (e.source_lenser_id IS NULL OR e.source_lenser_id = t.lenser_id)
          AND NOT EXISTS (SELECT FROM automation.event_dispatches d WHERE d.event_id = e.id AND d.rule_id = t.id)
        ORDER BY e.recorded_at, e.id LIMIT p_limit
    LOOP
        v_event := v_pair.event;
        v_rule := v_pair.rule;
        v_status := 'skipped';
        v_error := NULL;
        v_outbox := NULL;
        BEGIN
            IF automation.fn_eval_filter(v_rule.match_filter, v_event.payload) THEN
                v_outbox := worker.fn_act_on_event(v_rule, v_event);
                v_status := 'dispatched';
            END IF;
        EXCEPTION WHEN OTHERS THEN
            v_status := 'failed';
            v_error := SQLERRM;
        END;
        INSERT INTO automation.event_dispatches AS d (event_id, rule_id, status, error, outbox_id)
        VALUES (v_event.id, v_rule.id, v_status, v_error, v_outbox);
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
