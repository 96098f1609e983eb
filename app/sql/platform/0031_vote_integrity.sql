-- What is known about votes that may not be honest: risk scores, anomalies and the decisions that follow.

CREATE SCHEMA reputation;

GRANT USAGE ON SCHEMA reputation TO service_role;

-- Sign-ins, as Supabase's own auth service keeps them: the only place that knows an address.
CREATE TABLE auth.sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    ip inet,
    user_agent text
);

CREATE INDEX sessions_user_idx ON auth.sessions (user_id, created_at);

CREATE INDEX votes_battle_created_idx ON battles.votes (battle_id, created_at);

CREATE TABLE reputation.vote_risk_scores (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    vote_id uuid NOT NULL UNIQUE REFERENCES battles.votes ON DELETE CASCADE,
    risk_score numeric(5,4) NOT NULL DEFAULT 0 CHECK (risk_score BETWEEN 0 AND 1),
    risk_factors text[] NOT NULL DEFAULT '{}',
    review_status text NOT NULL DEFAULT 'cleared'
        CHECK (review_status IN ('cleared', 'flagged', 'excluded', 'appealed')),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION battles.fn_seed_vote_risk() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO reputation.vote_risk_scores (vote_id) VALUES (NEW.id) ON CONFLICT (vote_id) DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER trg_seed_vote_risk_on_insert AFTER INSERT ON battles.votes
    FOR EACH ROW EXECUTE FUNCTION battles.fn_seed_vote_risk();

CREATE FUNCTION battles.fn_refuse_self_vote() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM FROM battles.contenders AS contender
    WHERE contender.battle_id = NEW.battle_id AND contender.contender_type = 'human'
      AND contender.contender_ref_id = NEW.voter_lenser_id;
    IF FOUND THEN
        RAISE EXCEPTION 'contenders don''t vote in their own battle';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER trg_prevent_self_vote BEFORE INSERT ON battles.votes
    FOR EACH ROW EXECUTE FUNCTION battles.fn_refuse_self_vote();

CREATE FUNCTION public.fn_worker_update_vote_risk_score(
    p_vote_id uuid, p_risk_score numeric, p_risk_factors text[], p_review_status text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO reputation.vote_risk_scores (vote_id, risk_score, risk_factors, review_status)
    VALUES (p_vote_id, p_risk_score, p_risk_factors, p_review_status)
    ON CONFLICT (vote_id) DO UPDATE
    SET risk_score = excluded.risk_score, risk_factors = excluded.risk_factors,
        review_status = excluded.review_status;
END
$$;

-- What judging one voter's vote in a battle takes.
CREATE FUNCTION public.fn_worker_get_vote_risk_data(p_battle_id uuid, p_lenser_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'vote_id', vote.id, 'vote_value', vote.vote_value, 'created_at', vote.created_at,
        'account_created_at', account.created_at, 'risk_score', risk.risk_score,
        'review_status', risk.review_status)
    FROM battles.votes AS vote
    JOIN lensers.profiles AS profile ON profile.id = vote.voter_lenser_id
    LEFT JOIN auth.users AS account ON account.id = profile.user_id
    LEFT JOIN reputation.vote_risk_scores AS risk ON risk.vote_id = vote.id
    WHERE vote.battle_id = p_battle_id AND vote.voter_lenser_id = p_lenser_id
$$;

CREATE TABLE audit.vote_anomalies (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    voter_lenser_id uuid NOT NULL REFERENCES lensers.profiles ON DELETE CASCADE,
    anomaly_type text NOT NULL,
    score real NOT NULL DEFAULT 0,
    detected_at timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    resolved_by uuid REFERENCES auth.users ON DELETE SET NULL
);

-- Decided by a person, `moderator_lenser_id`, or else by a machine, with its confidence.
CREATE TABLE audit.moderation_decisions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    occurred_at timestamptz NOT NULL DEFAULT now(),
    target_entity_schema text NOT NULL,
    target_entity_table text NOT NULL,
    target_entity_id uuid NOT NULL,
    decision_type text NOT NULL
        CHECK (decision_type IN ('approved', 'rejected', 'flagged', 'removed', 'restored', 'warned')),
    reason text,
    evidence_urls text[],
    moderator_lenser_id uuid,
    is_ai_moderated boolean NOT NULL DEFAULT false,
    ai_confidence numeric(5,4) CHECK (ai_confidence BETWEEN 0 AND 1),
    appeal_deadline_at timestamptz,
    is_appealed boolean NOT NULL DEFAULT false,
    appealed_at timestamptz,
    appeal_outcome text CHECK (appeal_outcome IN ('upheld', 'overturned', 'pending')),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (is_ai_moderated = true OR moderator_lenser_id IS NOT NULL),
    CHECK (NOT (is_ai_moderated = true AND moderator_lenser_id IS NOT NULL))
);

GRANT ALL ON audit.vote_anomalies, audit.moderation_decisions TO service_role;

CREATE FUNCTION public.fn_flag_vote_anomaly(
    p_battle_id uuid, p_voter_id uuid, p_type text, p_score double precision
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO audit.vote_anomalies (battle_id, voter_lenser_id, anomaly_type, score)
    SELECT p_battle_id, p_voter_id, p_type, p_score
    WHERE NOT EXISTS (
        SELECT FROM audit.vote_anomalies AS known
        WHERE known.battle_id = p_battle_id AND known.voter_lenser_id = p_voter_id
          AND known.anomaly_type = p_type);
END
$$;

-- Voters whose vote in a battle deserves a second look, one row for each reason. A voter casts one vote in a
-- battle, so nothing follows from how many of their votes there went to one side.
CREATE FUNCTION public.fn_detect_suspicious_voting(p_battle_id uuid) RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN QUERY
    WITH voters AS (
        SELECT vote.voter_lenser_id AS id, account.created_at > now() - interval '24 hours' AS is_new,
               NOT EXISTS (SELECT FROM battles.contenders AS contender
                           WHERE contender.contender_ref_id = vote.voter_lenser_id)
               AND NOT EXISTS (SELECT FROM battles.votes AS other
                               WHERE other.voter_lenser_id = vote.voter_lenser_id
                                 AND other.battle_id <> p_battle_id) AS is_unknown
        FROM battles.votes AS vote
        JOIN lensers.profiles AS profile ON profile.id = vote.voter_lenser_id
        LEFT JOIN auth.users AS account ON account.id = profile.user_id
        WHERE vote.battle_id = p_battle_id
    )
    SELECT jsonb_build_object('voter_lenser_id', v.id, 'voter_id', v.id, 'reason', 'new_account', 'score', 0.7)
    FROM voters AS v WHERE v.is_new
    UNION ALL
    SELECT jsonb_build_object('voter_lenser_id', v.id, 'voter_id', v.id,
                              'reason', 'zero_battles_participated', 'score', 0.5)
    FROM voters AS v WHERE v.is_unknown;
END
$$;

CREATE FUNCTION public.fn_resolve_vote_anomaly(p_anomaly_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    UPDATE audit.vote_anomalies AS anomaly SET resolved_at = now(), resolved_by = auth.uid()
    WHERE anomaly.id = p_anomaly_id AND anomaly.resolved_at IS NULL;
END
$$;

-- Tell a person something. Never raises: NULL when it can't be told.
CREATE OR REPLACE FUNCTION public.fn_insert_notification(
    p_lenser_id uuid, p_type text, p_title text, p_body text DEFAULT NULL, p_action_url text DEFAULT NULL,
    p_metadata jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    new_id uuid;
BEGIN
    INSERT INTO public.notifications (lenser_id, type, title, body, action_url, metadata)
    VALUES (p_lenser_id, p_type, p_title, p_body, p_action_url, p_metadata)
    RETURNING id INTO new_id;
    RETURN new_id;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION
    public.fn_insert_notification,
    battles.fn_seed_vote_risk,
    battles.fn_refuse_self_vote,
    public.fn_worker_update_vote_risk_score,
    public.fn_worker_get_vote_risk_data,
    public.fn_flag_vote_anomaly,
    public.fn_detect_suspicious_voting,
    public.fn_resolve_vote_anomaly
FROM PUBLIC, anon, authenticated;

GRANT EXECUTE ON FUNCTION
    public.fn_insert_notification,
    public.fn_worker_update_vote_risk_score,
    public.fn_worker_get_vote_risk_data,
    public.fn_flag_vote_anomaly,
    public.fn_detect_suspicious_voting,
    public.fn_resolve_vote_anomaly
TO service_role;
