-- How a battle ends: voting closes, scores are found, there is a winner.

-- Each contender's score: the weighted mean of the judge's verdicts (0 to 10), the raw votes, or half of
-- each, both brought to 0 to 1.
CREATE FUNCTION battles.fn_rank_contenders(p_battle_id uuid)
RETURNS TABLE (contender_id uuid, rank_position integer)
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH entries AS (
        SELECT contender.id, battle.ai_judge_enabled, submission.submitted_at,
               coalesce(votes.raw_vote_count, 0) AS votes,
               coalesce(votes.weighted_vote_sum, 0) AS weighted,
               max(coalesce(votes.raw_vote_count, 0)) OVER () AS most_votes,
               (SELECT sum(v.score * coalesce(k.weight, 1)) / nullif(sum(coalesce(k.weight, 1)), 0)
                FROM battles.ai_judge_verdicts AS v
                LEFT JOIN battles.rubric_criteria AS k ON k.id = v.criterion_id
                WHERE v.contender_id = contender.id) AS judged
        FROM battles.contenders AS contender
        JOIN battles.battles AS battle ON battle.id = contender.battle_id
        LEFT JOIN battles.vote_aggregates AS votes ON votes.contender_id = contender.id
        LEFT JOIN battles.submissions AS submission ON submission.contender_id = contender.id
        WHERE contender.battle_id = p_battle_id
    )
    SELECT entries.id, row_number() OVER (ORDER BY
        CASE WHEN NOT entries.ai_judge_enabled THEN entries.votes
             WHEN entries.most_votes = 0 THEN coalesce(entries.judged, 0)
             ELSE 0.5 * entries.votes / entries.most_votes + 0.5 * coalesce(entries.judged, 0) / 10 END DESC,
        entries.votes DESC, entries.weighted DESC, entries.submitted_at NULLS LAST, entries.id)::integer
    FROM entries
$$;

-- Closes a battle that is being scored. There is always a winner, even without a vote.
CREATE FUNCTION public.fn_battles_finalize(p_battle_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    battle battles.battles;
    ranked record;
BEGIN
    SELECT b.* INTO battle FROM battles.battles AS b WHERE b.id = p_battle_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'battle not found: %', p_battle_id;
    ELSIF battle.status NOT IN ('voting', 'scoring') THEN
        RAISE EXCEPTION 'battle % is %, not voting or scoring', p_battle_id, battle.status;
    ELSIF battle.ai_judge_enabled
        AND NOT EXISTS (SELECT FROM battles.ai_judge_verdicts AS v WHERE v.battle_id = p_battle_id) THEN
        RAISE EXCEPTION 'battle % has no verdicts yet', p_battle_id USING HINT = 'ai_verdicts_missing';
    END IF;
    FOR ranked IN SELECT * FROM battles.fn_rank_contenders(p_battle_id) LOOP
        INSERT INTO battles.vote_aggregates (battle_id, contender_id, rank_position)
        VALUES (p_battle_id, ranked.contender_id, ranked.rank_position)
        ON CONFLICT (battle_id, contender_id) DO UPDATE
        SET rank_position = excluded.rank_position, updated_at = now();
        IF ranked.rank_position = 1 THEN
            battle.winner_contender_id := ranked.contender_id;
        END IF;
    END LOOP;
    UPDATE battles.battles AS b
    SET status = 'closed', winner_contender_id = battle.winner_contender_id, finalized_at = now()
    WHERE b.id = p_battle_id;
END
$$;

-- Moves every battle on whose voting has ended, at most 50 at a time, the longest overdue first. Where an
-- AI judge is wanted and has not spoken, the battle waits in `scoring`.
CREATE FUNCTION public.fn_worker_run_finalize_cycle() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    battle battles.battles;
    finalized integer := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('battles.finalize_cycle')) THEN
        RETURN 0;
    END IF;
    FOR battle IN
        SELECT b.* FROM battles.battles AS b
        WHERE b.status IN ('voting', 'scoring') AND b.voting_closes_at <= now() AND b.deleted_at IS NULL
        ORDER BY b.voting_closes_at
        LIMIT 50
        FOR UPDATE SKIP LOCKED
    LOOP
        BEGIN
            IF battle.status = 'voting' THEN
                UPDATE battles.battles AS b SET status = 'scoring' WHERE b.id = battle.id;
            END IF;
            IF NOT battle.ai_judge_enabled
                OR EXISTS (SELECT FROM battles.ai_judge_verdicts AS v WHERE v.battle_id = battle.id) THEN
                PERFORM public.fn_battles_finalize(battle.id);
                finalized := finalized + 1;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'battle % can''t be finalized: %', battle.id, SQLERRM;
        END;
    END LOOP;
    RETURN finalized;
END
$$;

REVOKE ALL ON FUNCTION
    battles.fn_rank_contenders,
    public.fn_battles_finalize,
    public.fn_worker_run_finalize_cycle
FROM PUBLIC, anon, authenticated;

GRANT EXECUTE ON FUNCTION
    battles.fn_rank_contenders,
    public.fn_battles_finalize,
    public.fn_worker_run_finalize_cycle
TO service_role;
