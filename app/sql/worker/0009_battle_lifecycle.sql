-- How battles move by themselves: ready drafts open, battles whose jobs have ended go to the vote, and those
-- whose voting has ended are closed. Every function moves one battle, so that none holds up the others.

-- Shadow: the platform's readiness asks for a signed-in user's key check, which a worker never passes. A key
-- that contenders bring must be usable; the platform's own keys are not the database's to know.
CREATE FUNCTION worker.fn_battles_check_readiness(p_battle_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = worker, public AS $$
DECLARE
    v_battle battles.battles;
    v_contenders integer;
    v_blockers text[] := '{}';
BEGIN
    SELECT b.* INTO v_battle FROM battles.battles b WHERE b.id = p_battle_id AND b.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('ready', false, 'blockers', ARRAY['battle_not_found']);
    END IF;
    IF v_battle.template_id IS NULL AND coalesce(trim(v_battle.task_prompt), '') = '' THEN
        v_blockers := v_blockers || 'no_template_or_task_prompt'::text;
    END IF;
    BEGIN
        PERFORM fn_worker_render_template(
            p_template_body => v_battle.task_prompt,
            p_inputs => coalesce(v_battle.shared_input_snapshot, '{}'));
    EXCEPTION WHEN OTHERS THEN
        v_blockers := v_blockers || ('prompt_render_failed:' || SQLERRM);
    END;
    SELECT count(*) INTO v_contenders
    FROM battles.contenders c WHERE c.battle_id = p_battle_id AND c.withdrawn_at IS NULL;
    IF v_contenders < 2 THEN
        v_blockers := v_blockers || format('insufficient_contenders:%s', v_contenders);
    END IF;
    v_blockers := v_blockers || ARRAY(
        SELECT format('byok_invalid:contender=%s:reason=%s', k.contender_id, k.problem)
        FROM worker.fn_battle_key_problems(p_battle_id) AS k ORDER BY k.slot);
    RETURN jsonb_build_object('ready', v_blockers = '{}', 'blockers', v_blockers);
END $$;

-- The AI contenders of a battle whose own key can't be used, and why.
CREATE FUNCTION worker.fn_battle_key_problems(p_battle_id uuid)
RETURNS TABLE (contender_id uuid, slot text, problem text)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT c.id, c.slot::text, p.problem
    FROM battles.contenders c
    JOIN battles.battles b ON b.id = c.battle_id
    CROSS JOIN LATERAL (
        SELECT e.* FROM battles.execution_configs e
        WHERE e.battle_id = c.battle_id AND (e.contender_id = c.id OR e.contender_id IS NULL)
        ORDER BY e.contender_id NULLS LAST LIMIT 1) AS x
    CROSS JOIN LATERAL (SELECT worker.fn_byok_key_problem(
        x.byok_key_ref_id, worker.fn_battle_key_owner(x.byok_key_ref_id, c.id, b.creator_lenser_id),
        x.provider_key)) AS p (problem)
    WHERE c.battle_id = p_battle_id AND c.contender_type IN ('ai_model', 'ai_agent')
      AND x.byok_key_ref_id IS NOT NULL AND p.problem IS NOT NULL
$$;

-- Drafts that are to open by themselves, and from when on: the product's `pending_promotion`.
CREATE VIEW worker.pending_promotions AS
    SELECT b.id, b.title, s.open_at AS not_before, coalesce(s.open_at <= now(), true) AS is_due
    FROM battles.battles b LEFT JOIN battles.schedules s ON s.battle_id = b.id
    WHERE b.status = 'draft' AND b.auto_promote AND b.deleted_at IS NULL;
COMMENT ON VIEW worker.pending_promotions IS
    'Drafts that open by themselves; worker.fn_battles_check_readiness says why one does not.';

-- Shadow: the platform's function writes columns that the audit log doesn't have, so it always fails. A
-- battle between AIs that has no time to start at starts now, since nobody is there to start it.
CREATE FUNCTION worker.fn_battles_auto_promote(p_battle_id uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = worker, public AS $$
BEGIN
    PERFORM FROM battles.battles b WHERE b.id = p_battle_id FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM worker.pending_promotions p WHERE p.id = p_battle_id AND p.is_due;
    IF NOT FOUND OR NOT (fn_battles_check_readiness(p_battle_id) ->> 'ready')::boolean THEN
        RETURN false;
    END IF;
    UPDATE battles.battles b
    SET status = 'open',
        execution_starts_at = CASE WHEN b.battle_type IN ('ai_vs_ai', 'workflow_battle')
                                   THEN coalesce(b.execution_starts_at, now()) ELSE b.execution_starts_at END
    WHERE b.id = p_battle_id;
    INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id)
    VALUES ('battle.auto_promoted', 'battles', 'battles', p_battle_id);
    RETURN true;
END $$;

-- Battles that wait for nobody: each job has ended, and yet voting was never opened. One with a job that was
-- cancelled, and so has no dead letter, is left to the operator who cancelled it.
CREATE VIEW worker.stuck_battles AS
    SELECT b.id, b.title, b.executing_started_at
    FROM battles.battles b
    WHERE b.status = 'executing' AND b.deleted_at IS NULL AND NOT public.fn_kill_switch_active('battle', b.id)
      AND EXISTS (SELECT FROM battles.battle_execution_jobs j WHERE j.battle_id = b.id)
      AND NOT EXISTS (
          SELECT FROM battles.battle_execution_jobs j
          WHERE j.battle_id = b.id AND j.status <> 'completed' AND NOT (j.status = 'failed' AND EXISTS (
              SELECT FROM battles.battle_execution_dead_letters d
              WHERE d.job_id = j.id AND d.resolved_at IS NULL)));
COMMENT ON VIEW worker.stuck_battles IS 'Battles that still execute although each of their jobs has ended.';

-- Open a stuck battle's voting: completing an ended job once more runs the platform's own check.
CREATE FUNCTION worker.fn_nudge_battle(p_battle_id uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = worker, public AS $$
BEGIN
    PERFORM FROM battles.battles b WHERE b.id = p_battle_id FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM worker.stuck_battles s WHERE s.id = p_battle_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM fn_worker_complete_battle_job(j.id, j.status, NULL, j.error_message)
    FROM (SELECT * FROM battles.battle_execution_jobs o WHERE o.battle_id = p_battle_id
          ORDER BY o.status, o.id LIMIT 1) AS j;
    RETURN true;
END $$;

-- Battles whose voting has ended and whose result can be found: those that wait for an AI judge's verdict are
-- left to the platform's own cycle, which asks for it.
CREATE VIEW worker.due_results AS
    SELECT b.id, b.title, b.status, b.voting_closes_at
    FROM battles.battles b
    WHERE b.status IN ('voting', 'scoring') AND b.voting_closes_at <= now() AND b.deleted_at IS NULL
      AND (NOT coalesce(b.ai_judge_enabled, false)
           OR EXISTS (SELECT FROM battles.ai_judge_verdicts v WHERE v.battle_id = b.id));
COMMENT ON VIEW worker.due_results IS 'Battles whose voting has ended and that are still to be closed.';

-- Close a battle that is due; false when it is not, or when somebody else is at it.
CREATE FUNCTION worker.fn_close_battle(p_battle_id uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = worker, public AS $$
BEGIN
    PERFORM FROM battles.battles b WHERE b.id = p_battle_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM worker.due_results d WHERE d.id = p_battle_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE battles.battles b SET status = 'scoring' WHERE b.id = p_battle_id AND b.status = 'voting';
    PERFORM fn_battles_finalize(p_battle_id);
    RETURN true;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
