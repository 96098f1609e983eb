-- How battles move by themselves: drafts open, due ones start, abandoned jobs go back, everything stops.

-- Starts every battle between AIs that is due, with a job for each contender. One that can't be started,
-- such as one with a third contender, stays open and holds up no other.
CREATE FUNCTION battles.fn_auto_start_battles() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    due_id uuid;
    started integer := 0;
BEGIN
    FOR due_id IN
        SELECT battle.id FROM battles.battles AS battle
        WHERE battle.status = 'open' AND battle.execution_starts_at <= now() AND battle.deleted_at IS NULL
          AND battle.battle_type IN ('ai_vs_ai', 'workflow_battle')
        ORDER BY battle.execution_starts_at
        FOR UPDATE SKIP LOCKED
    LOOP
        BEGIN
            UPDATE battles.battles AS battle SET status = 'executing', executing_started_at = now()
            WHERE battle.id = due_id;
            INSERT INTO battles.battle_execution_jobs (battle_id, contender_id, slot)
            SELECT contender.battle_id, contender.id, contender.slot
            FROM battles.contenders AS contender
            WHERE contender.battle_id = due_id
            ON CONFLICT DO NOTHING;
            started := started + 1;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'battle % can''t be started: %', due_id, SQLERRM;
        END;
    END LOOP;
    RETURN started;
END
$$;

-- Why a contender's own key can't be used in its battle, or NULL.
CREATE FUNCTION public.fn_byok_validate_for_battle(p_battle_id uuid, p_contender_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT CASE WHEN key.id IS NULL OR NOT key.is_active THEN 'key_not_active'
                WHEN key.expires_at <= now() THEN 'key_expired' END
    FROM battles.execution_configs AS config
    LEFT JOIN ai.keys AS key ON key.id = config.byok_key_ref_id
    WHERE config.battle_id = p_battle_id AND config.byok_key_ref_id IS NOT NULL
      AND (config.contender_id = p_contender_id OR config.contender_id IS NULL)
    ORDER BY config.contender_id NULLS LAST
    LIMIT 1
$$;

CREATE FUNCTION public.fn_battles_check_readiness(p_battle_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    battle battles.battles;
    contender battles.contenders;
    contenders integer;
    reason text;
    blockers text[] := '{}';
BEGIN
    SELECT b.* INTO battle FROM battles.battles AS b WHERE b.id = p_battle_id;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('ready', false, 'blockers', ARRAY['battle_not_found']);
    END IF;
    IF battle.template_id IS NULL AND coalesce(trim(battle.task_prompt), '') = '' THEN
        blockers := blockers || 'no_template_or_task_prompt'::text;
    END IF;
    SELECT count(*) INTO contenders FROM battles.contenders AS c WHERE c.battle_id = p_battle_id;
    IF contenders < 2 THEN
        blockers := blockers || format('insufficient_contenders:%s', contenders);
    END IF;
    FOR contender IN
        SELECT c.* FROM battles.contenders AS c
        WHERE c.battle_id = p_battle_id AND c.contender_type IN ('ai_model', 'ai_agent') ORDER BY c.slot
    LOOP
        reason := public.fn_byok_validate_for_battle(p_battle_id, contender.id);
        IF reason IS NOT NULL THEN
            blockers := blockers || format('byok_invalid:contender=%s:reason=%s', contender.id, reason);
        END IF;
    END LOOP;
    RETURN jsonb_build_object('ready', blockers = '{}', 'blockers', blockers);
END
$$;

CREATE FUNCTION public.fn_battles_auto_promote(p_battle_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NOT (public.fn_battles_check_readiness(p_battle_id) ->> 'ready')::boolean THEN
        RETURN false;
    END IF;
    UPDATE battles.battles AS battle SET status = 'open'
    WHERE battle.id = p_battle_id AND battle.status = 'draft';
    INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id)
    VALUES ('battle.auto_promoted', 'battles', 'battles', p_battle_id);
    RETURN true;
END
$$;

CREATE FUNCTION public.fn_worker_run_auto_promote_cycle() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    draft_id uuid;
    promoted integer := 0;
BEGIN
    FOR draft_id IN SELECT b.id FROM battles.battles AS b WHERE b.status = 'draft' AND b.auto_promote LOOP
        BEGIN
            promoted := promoted + public.fn_battles_auto_promote(draft_id)::integer;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'battle % can''t be promoted: %', draft_id, SQLERRM;
        END;
    END LOOP;
    RETURN promoted;
END
$$;

-- Puts jobs back, or gives them up, whose worker has been silent for too long.
CREATE FUNCTION battles.fn_reclaim_stale_battle_jobs(p_stale_after_minutes integer DEFAULT 10) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    job battles.battle_execution_jobs;
    reclaimed integer := 0;
BEGIN
    FOR job IN
        SELECT j.* FROM battles.battle_execution_jobs AS j
        WHERE j.status = 'claimed' AND j.claimed_at < now() - p_stale_after_minutes * interval '1 minute'
        FOR UPDATE SKIP LOCKED
    LOOP
        IF job.retry_count >= job.max_retries - 1 THEN
            PERFORM battles.fn_move_battle_job_to_dlq(
                job.id, 'stale_claim.max_retries_exceeded', 'the worker went silent');
        ELSE
            UPDATE battles.battle_execution_jobs AS j
            SET status = 'queued', worker_id = NULL, claimed_at = NULL, retry_count = j.retry_count + 1
            WHERE j.id = job.id;
        END IF;
        INSERT INTO audit.events (event_type, entity_schema, entity_table, entity_id, payload)
        VALUES ('battle.stale_job_reclaimed', 'battles', 'battle_execution_jobs', job.id,
                jsonb_build_object('worker_id', job.worker_id, 'retry_count', job.retry_count));
        reclaimed := reclaimed + 1;
    END LOOP;
    RETURN reclaimed;
END
$$;

-- The emergency stop of an administrator.
CREATE FUNCTION public.fn_cancel_all_active_runs(p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM lensers.profiles AS p WHERE p.user_id = auth.uid() AND p.is_super_admin) THEN
        RAISE EXCEPTION 'Forbidden: only administrators may stop everything';
    END IF;
    UPDATE battles.battle_execution_jobs AS job
    SET status = 'failed', completed_at = now(), error_message = p_reason
    WHERE job.status IN ('queued', 'claimed', 'running');
END
$$;

REVOKE ALL ON FUNCTION
    battles.fn_auto_start_battles,
    battles.fn_reclaim_stale_battle_jobs,
    public.fn_byok_validate_for_battle,
    public.fn_battles_check_readiness,
    public.fn_battles_auto_promote,
    public.fn_worker_run_auto_promote_cycle,
    public.fn_cancel_all_active_runs
FROM PUBLIC, anon, authenticated;

GRANT EXECUTE ON FUNCTION
    battles.fn_auto_start_battles,
    battles.fn_reclaim_stale_battle_jobs,
    public.fn_byok_validate_for_battle,
    public.fn_battles_check_readiness,
    public.fn_battles_auto_promote,
    public.fn_worker_run_auto_promote_cycle
TO service_role;
GRANT EXECUTE ON FUNCTION public.fn_cancel_all_active_runs TO authenticated;
