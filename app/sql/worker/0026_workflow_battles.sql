-- What the nodes of workflows do with battles, always in the rights of the workflow's owner. What can't be done
-- is raised as LFNOD, with a code before a colon and words for people after it.

-- The person in whose rights a run acts.
CREATE FUNCTION worker.fn_acting_person(p_run_id uuid) RETURNS uuid
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_owner uuid := worker.fn_run_owner(p_run_id);
BEGIN
    IF v_owner IS NULL THEN
        RAISE EXCEPTION 'run.no_rights: the run was started by somebody else than the workflow''s owner'
            USING ERRCODE = 'LFNOD';
    END IF;
    RETURN v_owner;
END $$;

-- For the rest of the transaction, be the person in whose rights a run acts.
CREATE FUNCTION worker.fn_act_as_owner(p_run_id uuid) RETURNS uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_owner uuid := worker.fn_acting_person(p_run_id);
    v_user uuid;
BEGIN
    SELECT p.user_id INTO v_user FROM lensers.profiles p WHERE p.id = v_owner;
    IF v_user IS NULL THEN
        RAISE EXCEPTION 'run.no_rights: the workflow''s owner is nobody who can sign in' USING ERRCODE = 'LFNOD';
    END IF;
    PERFORM set_config('request.jwt.claims',
                       jsonb_build_object('role', 'authenticated', 'sub', v_user)::text, true),
            set_config('request.jwt.claim.role', 'authenticated', true),
            set_config('request.jwt.claim.sub', v_user::text, true);
    RETURN v_owner;
END $$;

-- A battle of the workflow's owner, locked.
CREATE FUNCTION worker.fn_own_battle(p_run_id uuid, p_battle_id uuid) RETURNS battles.battles
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_owner uuid := worker.fn_acting_person(p_run_id);
    v_battle battles.battles;
BEGIN
    SELECT * INTO v_battle FROM battles.battles b
    WHERE b.id = p_battle_id AND b.creator_lenser_id = v_owner AND b.deleted_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'battle.not_owned: the workflow''s owner has no battle %', p_battle_id
            USING ERRCODE = 'LFNOD';
    END IF;
    RETURN v_battle;
END $$;

-- What there is to tell of a battle's result.
CREATE FUNCTION worker.fn_battle_result(p_battle_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'battleId', b.id, 'status', b.status, 'winnerId', b.winner_contender_id, 'winnerSlot', c.slot::text,
        'winnerName', c.display_name)
    FROM battles.battles b LEFT JOIN battles.contenders c ON c.id = b.winner_contender_id
    WHERE b.id = p_battle_id
$$;

-- Have a battle whose voting has ended wait for its score.
CREATE FUNCTION worker.fn_end_voting(p_battle battles.battles) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    IF p_battle.status = 'voting' AND coalesce(p_battle.voting_closes_at > now(), true) THEN
        RAISE EXCEPTION 'battle.voting_open: voting ends at %', coalesce(p_battle.voting_closes_at::text, 'no set time')
            USING ERRCODE = 'LFNOD';
    ELSIF p_battle.status NOT IN ('voting', 'scoring') THEN
        RAISE EXCEPTION 'battle.wrong_status: the battle is %, not voting or scoring', p_battle.status
            USING ERRCODE = 'LFNOD';
    END IF;
    UPDATE battles.battles b SET status = 'scoring' WHERE b.id = p_battle.id AND b.status = 'voting';
END $$;

-- Close a battle of the owner's and tell its result; one that is closed stays as it is.
CREATE FUNCTION worker.finalize_own_battle(p_run_id uuid, p_battle_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_battle battles.battles := worker.fn_own_battle(p_run_id, p_battle_id);
BEGIN
    IF v_battle.status NOT IN ('closed', 'published') THEN
        PERFORM worker.fn_end_voting(v_battle);
        IF v_battle.ai_judge_enabled
            AND NOT EXISTS (SELECT FROM battles.ai_judge_verdicts v WHERE v.battle_id = p_battle_id) THEN
            RAISE EXCEPTION 'battle.verdicts_missing: the battle waits for its judge' USING ERRCODE = 'LFNOD';
        END IF;
        PERFORM fn_battles_finalize(p_battle_id);
    END IF;
    RETURN worker.fn_battle_result(p_battle_id);
END $$;

-- Rate the contenders of a closed battle of the owner's; the platform does so once.
CREATE FUNCTION worker.rate_own_battle(p_run_id uuid, p_battle_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_battle battles.battles := worker.fn_own_battle(p_run_id, p_battle_id);
BEGIN
    IF v_battle.status NOT IN ('closed', 'published') THEN
        RAISE EXCEPTION 'battle.wrong_status: the battle is %, not closed', v_battle.status USING ERRCODE = 'LFNOD';
    END IF;
    RETURN worker.fn_battle_result(p_battle_id)
        || jsonb_build_object('rating', fn_compute_elo_after_battle(p_battle_id));
END $$;

-- What a judge of a battle of the owner's must know; with the verdicts if they have been given.
CREATE FUNCTION worker.own_battle_for_judge(p_run_id uuid, p_battle_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_battle battles.battles := worker.fn_own_battle(p_run_id, p_battle_id);
    v_verdicts jsonb := worker.fn_verdicts(p_battle_id);
BEGIN
    IF v_verdicts = '[]' THEN
        IF NOT coalesce(v_battle.ai_judge_enabled, false) THEN
            RAISE EXCEPTION 'battle.not_judged: the battle is not to be judged by an AI' USING ERRCODE = 'LFNOD';
        END IF;
        PERFORM worker.fn_end_voting(v_battle);
    END IF;
    RETURN jsonb_build_object(
        'task', v_battle.task_prompt, 'guidance', v_battle.ai_judge_prompt, 'model_key', v_battle.ai_judge_model_key,
        'verdicts', v_verdicts,
        'criteria', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', k.id, 'title', k.title, 'description', k.description, 'weight', k.weight) ORDER BY k.ordinal)
            FROM battles.rubric_criteria k WHERE k.rubric_id = v_battle.rubric_id), '[]'),
        'contenders', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', c.id, 'slot', c.slot::text, 'text', s.content_text, 'media', s.media_url) ORDER BY c.slot)
            FROM battles.contenders c
            LEFT JOIN battles.submissions s ON s.contender_id = c.id AND s.battle_id = c.battle_id
                AND s.status = 'submitted'
            WHERE c.battle_id = p_battle_id AND c.withdrawn_at IS NULL), '[]'));
END $$;

CREATE FUNCTION worker.fn_verdicts(p_battle_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'contenderId', v.contender_id, 'slot', c.slot::text, 'criterionId', v.criterion_id,
        'score', v.score, 'rationale', v.rationale, 'modelKey', v.model_key)
        ORDER BY c.slot, k.ordinal, v.created_at, v.id), '[]')
    FROM battles.ai_judge_verdicts v JOIN battles.contenders c ON c.id = v.contender_id
    LEFT JOIN battles.rubric_criteria k ON k.id = v.criterion_id
    WHERE v.battle_id = p_battle_id
$$;

-- Count a judge's verdicts, unless there are some: then those stand. The platform closes the battle by them.
CREATE FUNCTION worker.judge_own_battle(p_run_id uuid, p_battle_id uuid, p_verdicts jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_battle battles.battles := worker.fn_own_battle(p_run_id, p_battle_id);
BEGIN
    IF worker.fn_verdicts(p_battle_id) = '[]' THEN
        PERFORM worker.fn_end_voting(v_battle);
        PERFORM fn_record_ai_judge_verdict(p_battle_id, p_verdicts);
    END IF;
    RETURN worker.fn_battle_result(p_battle_id) || jsonb_build_object('verdicts', worker.fn_verdicts(p_battle_id));
END $$;

-- Write a battle, as a draft of the owner's.
CREATE FUNCTION worker.create_own_battle(p_run_id uuid, p_battle jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_owner uuid := worker.fn_act_as_owner(p_run_id);
    v_new battles.battles := jsonb_populate_record(NULL::battles.battles, p_battle);
    v_id uuid;
BEGIN
    IF v_new.workflow_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM lenses.workflows w WHERE w.id = v_new.workflow_id AND w.lenser_id = v_owner) THEN
        RAISE EXCEPTION 'battle.workflow_not_owned: the workflow''s owner has no workflow %', v_new.workflow_id
            USING ERRCODE = 'LFNOD';
    END IF;
    v_id := fn_battles_create(
        p_title => v_new.title, p_slug => v_new.slug, p_task_prompt => v_new.task_prompt,
        p_rubric_id => v_new.rubric_id, p_automation_config => coalesce(v_new.automation_config, '{}'));
    UPDATE battles.battles b
    SET battle_type = v_new.battle_type, voter_eligibility = v_new.voter_eligibility,
        handicap_config = coalesce(v_new.handicap_config, b.handicap_config), workflow_id = v_new.workflow_id,
        lens_id = v_new.lens_id
    WHERE b.id = v_id;
    RETURN jsonb_build_object('battleId', v_id, 'slug', v_new.slug, 'status', 'draft', 'title', v_new.title);
END $$;

-- Go on to the next round of a series of the owner's; the platform's function knows whose it is.
CREATE FUNCTION worker.advance_own_series(p_run_id uuid, p_series_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
BEGIN
    PERFORM worker.fn_act_as_owner(p_run_id);
    RETURN to_jsonb(fn_advance_series(p_series_id));
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
