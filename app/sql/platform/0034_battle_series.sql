-- What people do with battles beside voting: write one, have a judge's verdict counted, rate, go on to the
-- next round of a series.

CREATE TABLE battles.series (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 200),
    template_id uuid NOT NULL REFERENCES battles.templates ON DELETE CASCADE,
    creator_lenser_id uuid NOT NULL,
    round_count integer NOT NULL DEFAULT 3 CHECK (round_count BETWEEN 1 AND 16),
    current_round integer NOT NULL DEFAULT 1 CHECK (current_round >= 1),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'complete')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE battles.series_rounds (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    series_id uuid NOT NULL REFERENCES battles.series ON DELETE CASCADE,
    round_number integer NOT NULL CHECK (round_number >= 1),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    winner_contender_id uuid REFERENCES battles.contenders ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (series_id, round_number)
);

-- Ratings of contenders, and the battles that they count already.
CREATE TABLE reputation.elo_ratings (
    contender_ref_id uuid PRIMARY KEY,
    rating numeric NOT NULL DEFAULT 1000
);

CREATE TABLE reputation.elo_battle_log (
    battle_id uuid PRIMARY KEY,
    computed_at timestamptz NOT NULL DEFAULT now(),
    winner_lenser_id uuid,
    loser_lenser_id uuid,
    is_draw boolean NOT NULL DEFAULT false,
    winner_score_before numeric(10,4),
    winner_score_after numeric(10,4),
    loser_score_before numeric(10,4),
    loser_score_after numeric(10,4),
    k_factor integer NOT NULL DEFAULT 32
);

CREATE FUNCTION public.fn_get_battle_scores(p_battle_id uuid) RETURNS TABLE (slot text, vote_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT contender.slot::text, coalesce(votes.raw_vote_count, 0)::bigint
    FROM battles.contenders AS contender
    LEFT JOIN battles.vote_aggregates AS votes ON votes.contender_id = contender.id
    WHERE contender.battle_id = p_battle_id
    ORDER BY contender.slot
$$;

CREATE FUNCTION public.fn_battles_create(
    p_title text, p_slug text, p_task_prompt text, p_rubric_id uuid DEFAULT NULL,
    p_automation_config jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    creator_id uuid := lensers.get_auth_lenser_id();
    battle_id uuid;
BEGIN
    IF creator_id IS NULL THEN
        RAISE EXCEPTION 'auth_required' USING ERRCODE = '42501';
    END IF;
    INSERT INTO battles.battles AS b (creator_lenser_id, title, slug, task_prompt, rubric_id, automation_config)
    VALUES (creator_id, p_title, p_slug, p_task_prompt, p_rubric_id, p_automation_config)
    RETURNING b.id INTO battle_id;
    RETURN battle_id;
END
$$;

-- Counts a judge's verdicts, and closes a battle that only waited for them.
CREATE FUNCTION public.fn_record_ai_judge_verdict(p_battle_id uuid, p_verdicts jsonb) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    recorded integer;
BEGIN
    INSERT INTO battles.ai_judge_verdicts (battle_id, contender_id, criterion_id, score, rationale, model_key, run_id)
    SELECT p_battle_id, v.contender_id, v.criterion_id, v.score, v.rationale, coalesce(v.model_key, 'unknown'), v.run_id
    FROM jsonb_to_recordset(p_verdicts) AS v (
        contender_id uuid, criterion_id uuid, score numeric, rationale text, model_key text, run_id uuid);
    GET DIAGNOSTICS recorded = ROW_COUNT;
    PERFORM FROM battles.battles AS b
    WHERE b.id = p_battle_id AND b.ai_judge_enabled AND b.status IN ('voting', 'scoring');
    IF FOUND THEN
        PERFORM public.fn_battles_finalize(p_battle_id);
    END IF;
    RETURN recorded;
END
$$;

-- Rates both contenders of a closed battle, K = 32, once.
CREATE FUNCTION public.fn_compute_elo_after_battle(p_battle_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    battle battles.battles;
    winner_id uuid;
    loser_id uuid;
    winner_rating numeric;
    loser_rating numeric;
    delta numeric;
BEGIN
    SELECT b.* INTO battle FROM battles.battles AS b WHERE b.id = p_battle_id;
    IF NOT FOUND OR battle.status NOT IN ('closed', 'published') THEN
        RAISE EXCEPTION 'battle % is not closed', p_battle_id;
    END IF;
    INSERT INTO reputation.elo_battle_log (battle_id) VALUES (p_battle_id) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('skipped', true, 'reason', 'already_computed');
    END IF;
    SELECT c.contender_ref_id INTO winner_id FROM battles.contenders AS c WHERE c.id = battle.winner_contender_id;
    SELECT c.contender_ref_id INTO loser_id FROM battles.contenders AS c
    WHERE c.battle_id = p_battle_id AND c.id <> battle.winner_contender_id ORDER BY c.slot LIMIT 1;
    INSERT INTO reputation.elo_ratings (contender_ref_id) VALUES (winner_id), (loser_id) ON CONFLICT DO NOTHING;
    SELECT r.rating INTO winner_rating FROM reputation.elo_ratings AS r WHERE r.contender_ref_id = winner_id;
    SELECT r.rating INTO loser_rating FROM reputation.elo_ratings AS r WHERE r.contender_ref_id = loser_id;
    delta := round(32 * (1 - 1 / (1 + power(10, (loser_rating - winner_rating) / 400))), 2);
    UPDATE reputation.elo_ratings AS r
    SET rating = r.rating + CASE WHEN r.contender_ref_id = winner_id THEN delta ELSE -delta END
    WHERE r.contender_ref_id IN (winner_id, loser_id);
    RETURN jsonb_build_object('winner', winner_id, 'loser', loser_id, 'delta', delta);
END
$$;

-- Goes on to the next round, or completes the series; for its creator.
CREATE FUNCTION public.fn_advance_series(p_series_id uuid) RETURNS battles.series
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    series battles.series;
BEGIN
    IF lensers.get_auth_lenser_id() IS NULL THEN
        RAISE EXCEPTION 'auth_required' USING ERRCODE = '42501';
    END IF;
    SELECT s.* INTO series FROM battles.series AS s WHERE s.id = p_series_id FOR UPDATE;
    IF NOT FOUND OR series.creator_lenser_id <> lensers.get_auth_lenser_id() THEN
        RAISE EXCEPTION 'series_not_found_or_not_owned' USING ERRCODE = '42501';
    ELSIF series.status = 'complete' THEN
        RETURN series;
    END IF;
    PERFORM FROM battles.series_rounds AS r JOIN battles.battles AS b ON b.id = r.battle_id
    WHERE r.series_id = p_series_id AND r.round_number = series.current_round
      AND b.winner_contender_id IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'current_round_has_no_winner';
    END IF;
    UPDATE battles.series AS s
    SET current_round = least(s.current_round + 1, s.round_count),
        status = CASE WHEN s.current_round >= s.round_count THEN 'complete' ELSE 'active' END,
        updated_at = now()
    WHERE s.id = p_series_id
    RETURNING s.* INTO series;
    RETURN series;
END
$$;

REVOKE ALL ON FUNCTION
    public.fn_battles_create,
    public.fn_record_ai_judge_verdict,
    public.fn_compute_elo_after_battle,
    public.fn_advance_series
FROM PUBLIC, anon, authenticated;

GRANT ALL ON battles.series, battles.series_rounds, reputation.elo_ratings, reputation.elo_battle_log TO service_role;
GRANT EXECUTE ON FUNCTION public.fn_get_battle_scores TO anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION public.fn_battles_create, public.fn_advance_series TO authenticated, service_role;
GRANT EXECUTE ON FUNCTION public.fn_record_ai_judge_verdict, public.fn_compute_elo_after_battle TO service_role;
