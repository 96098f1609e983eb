-- Votes and battle events: how far they have been read, which battles wait for an inspection, which changes of
-- status were told to workflows. Notifications are hints; what is written here decides.

CREATE TABLE worker.feeds (
    feed text PRIMARY KEY CHECK (feed IN ('votes', 'battle_events')),
    -- rows from before this are none of our business
    began_at timestamptz NOT NULL DEFAULT now(),
    -- the watermark: the newest row that was read
    created_at timestamptz NOT NULL DEFAULT now(),
    id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    caught_up_at timestamptz
);

INSERT INTO worker.feeds (feed) VALUES ('votes'), ('battle_events');

-- Move a feed's watermark on to a row, never back, and never to a time that is still to come.
CREATE FUNCTION worker.fn_advance_feed(p_feed text, p_created_at timestamptz, p_id uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE worker.feeds f
    SET created_at = greatest(f.created_at, least(p_created_at, now())), caught_up_at = now(),
        id = CASE WHEN (p_created_at, p_id) > (f.created_at, f.id) THEN p_id ELSE f.id END
    WHERE f.feed = p_feed
$$;

-- Begin a feed anew from now, for what passed while it was switched off.
CREATE FUNCTION worker.fn_skip_feed(p_feed text) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE worker.feeds f SET began_at = now(), created_at = now(), caught_up_at = now() WHERE f.feed = p_feed
$$;

-- A battle whose votes are looked at. A vote counts as seen once an inspection has read it.
CREATE TABLE worker.vote_inspections (
    battle_id uuid PRIMARY KEY,
    -- the last time that somebody saw a new vote
    wanted_at timestamptz NOT NULL DEFAULT now(),
    -- when the newest message is or was due
    due_at timestamptz NOT NULL DEFAULT now(),
    inspected_at timestamptz,
    -- votes of transactions below this one were seen; as a number that doesn't wrap around
    seen_below bigint NOT NULL DEFAULT 0,
    votes_seen integer NOT NULL DEFAULT 0,
    inspections bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

-- A row's xmin as a number that doesn't wrap around, on the assumption that it isn't two billion old.
CREATE FUNCTION worker.fn_wide_xid(p_xmin xid) RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE WHEN w.wide > n.next + (1::bigint << 31) THEN w.wide - (1::bigint << 32) ELSE w.wide END
    FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) AS n
    CROSS JOIN LATERAL (SELECT ((n.next >> 32) << 32) + p_xmin::text::bigint AS wide) AS w
$$;

-- Every transaction below this number has ended, savepoints included: an ended one's rows are seen now, and a
-- row of a later commit can't have a lower number.
CREATE FUNCTION worker.fn_settled_below() RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint
$$;

-- Have these battles' votes inspected. While a message waits nothing is added: it will see the new votes too.
-- The next one is due an interval after the one before, so a flood of votes is looked at now and then, and
-- the last of them always. Gives the number of messages.
CREATE FUNCTION worker.fn_want_inspections(p_battles uuid[], p_interval_ms integer) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_battle uuid;
    v_due_at timestamptz;
    v_count integer := 0;
BEGIN
    FOR v_battle IN
        SELECT b.id FROM battles.battles b WHERE b.id = ANY (p_battles) AND b.deleted_at IS NULL ORDER BY b.id
    LOOP
        INSERT INTO worker.vote_inspections AS i (battle_id, wanted_at, due_at)
        VALUES (v_battle, clock_timestamp(), '-infinity')
        ON CONFLICT (battle_id) DO UPDATE SET wanted_at = clock_timestamp()
        RETURNING greatest(clock_timestamp(), i.due_at + p_interval_ms * interval '1 millisecond') INTO v_due_at;
        CONTINUE WHEN EXISTS (
            SELECT FROM dramatiq.queue q WHERE q.unique_key = 'inspect_votes:' || v_battle AND q.state = 'queued');
        PERFORM worker.enqueue('inspect_votes', jsonb_build_object('battle_id', v_battle), 'votes',
                               v_due_at, 'inspect_votes:' || v_battle);
        UPDATE worker.vote_inspections i SET due_at = v_due_at WHERE i.battle_id = v_battle;
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;

-- Find the battles with votes that no inspection has seen, whatever notification got lost, and have them
-- inspected; gives these battles. Rows are read again for an overlap before the watermark, because a row
-- appears when its transaction commits and not at its created_at. An inspection that has not come for a
-- minute lost its message, and gets another one.
CREATE FUNCTION worker.fn_catch_up_votes(p_overlap interval, p_interval_ms integer) RETURNS SETOF uuid
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_feed worker.feeds;
    v_since timestamptz;
    v_newest uuid[];
    v_newest_at timestamptz;
    v_battles uuid[];
BEGIN
    SELECT * INTO STRICT v_feed FROM worker.feeds f WHERE f.feed = 'votes' FOR UPDATE;
    v_since := greatest(v_feed.began_at, v_feed.created_at - p_overlap);
    SELECT array_agg(v.id ORDER BY v.created_at DESC, v.id DESC) FILTER (WHERE v.place = 1),
           max(v.created_at), array_agg(DISTINCT v.battle_id) FILTER (WHERE v.is_unseen)
    INTO v_newest, v_newest_at, v_battles
    FROM (
        SELECT v.id, v.created_at, v.battle_id, row_number() OVER (ORDER BY v.created_at DESC, v.id DESC) AS place,
               worker.fn_wide_xid(v.xmin) >= coalesce(i.seen_below, 0) AS is_unseen
        FROM battles.battles b
        JOIN battles.votes v ON v.battle_id = b.id
        LEFT JOIN worker.vote_inspections i ON i.battle_id = b.id
        WHERE v.created_at >= v_since AND (b.status IN ('voting', 'scoring') OR b.updated_at >= v_since)
    ) AS v;
    PERFORM worker.fn_advance_feed('votes', coalesce(v_newest_at, v_feed.created_at), coalesce(v_newest[1], v_feed.id));
    SELECT array_cat(v_battles, array_agg(i.battle_id)) INTO v_battles FROM worker.vote_inspections i
    WHERE i.wanted_at > coalesce(i.inspected_at, '-infinity') AND i.wanted_at < now() - interval '1 minute';
    PERFORM worker.fn_want_inspections(v_battles, p_interval_ms);
    RETURN QUERY SELECT unnest(v_battles);
END $$;

-- A change of a battle's status, and what came of telling workflows about it.
CREATE TABLE worker.battle_dispatches (
    event_id uuid PRIMARY KEY,
    battle_id uuid NOT NULL,
    old_status text,
    status text NOT NULL,
    -- runs that it began; null as long as it fails
    runs integer,
    attempts integer NOT NULL,
    error text,
    -- when a failed one is tried again
    due_at timestamptz,
    dispatched_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX battle_dispatches_due ON worker.battle_dispatches (due_at) WHERE runs IS NULL;

-- Tell workflows about each change of status once. The record is written together with the runs, so neither
-- is there without the other; a failure is tried again with growing pauses, ten times.
CREATE FUNCTION worker.fn_dispatch_battle_events(p_overlap interval, p_limit integer DEFAULT 500)
RETURNS SETOF worker.battle_dispatches
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_feed worker.feeds;
    v_event record;
BEGIN
    SELECT * INTO STRICT v_feed FROM worker.feeds f WHERE f.feed = 'battle_events' FOR UPDATE;
    FOR v_event IN
        SELECT e.id, e.battle_id, e.created_at, e.metadata ->> 'from' AS old_status, e.metadata ->> 'to' AS status
        FROM battles.events e
        WHERE e.event_type = 'status_change' AND e.metadata ->> 'to' IS NOT NULL
          AND e.created_at >= greatest(v_feed.began_at, v_feed.created_at - p_overlap)
          AND NOT EXISTS (SELECT FROM worker.battle_dispatches d WHERE d.event_id = e.id)
        ORDER BY e.created_at, e.id LIMIT p_limit
    LOOP
        PERFORM worker.fn_advance_feed('battle_events', v_event.created_at, v_event.id);
        RETURN QUERY SELECT * FROM worker.fn_dispatch_battle_event(
            v_event.id, v_event.battle_id, v_event.old_status, v_event.status);
    END LOOP;
    RETURN QUERY
    SELECT again.* FROM worker.battle_dispatches d
    CROSS JOIN LATERAL worker.fn_dispatch_battle_event(d.event_id, d.battle_id, d.old_status, d.status) AS again
    WHERE d.runs IS NULL AND d.due_at <= now();
END $$;

CREATE FUNCTION worker.fn_dispatch_battle_event(p_event uuid, p_battle uuid, p_old_status text, p_status text)
RETURNS worker.battle_dispatches
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_runs integer;
    v_error text;
    v_dispatch worker.battle_dispatches;
BEGIN
    BEGIN
        v_runs := fn_workflows_dispatch_on_event('battle_event', jsonb_build_object(
            'battle_id', p_battle, 'status', p_status, 'old_status', p_old_status));
    EXCEPTION WHEN OTHERS THEN
        v_error := SQLERRM;
    END;
    INSERT INTO worker.battle_dispatches AS d (event_id, battle_id, old_status, status, runs, attempts, error, due_at)
    VALUES (p_event, p_battle, p_old_status, p_status, v_runs, 1, v_error,
            CASE WHEN v_error IS NOT NULL THEN now() + interval '2 seconds' END)
    ON CONFLICT (event_id) DO UPDATE
    SET runs = excluded.runs, error = excluded.error, attempts = d.attempts + 1, dispatched_at = now(),
        due_at = CASE WHEN v_error IS NOT NULL AND d.attempts < 9
                      THEN now() + 2 ^ (d.attempts + 1) * interval '1 second' END
    RETURNING * INTO v_dispatch;
    RETURN v_dispatch;
END $$;

-- The platform's own statement must never fail because of us, hence the catch-alls: what a notification
-- misses, the catch-up finds.
CREATE FUNCTION worker.fn_notify_votes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM pg_notify('lf_worker.votes', i.battle_id::text) FROM (SELECT DISTINCT battle_id FROM inserted) AS i;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no notification of votes: %', SQLERRM;
    RETURN NULL;
END $$;

CREATE FUNCTION worker.fn_notify_battle_events() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM pg_notify('lf_worker.battle_events', '');
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no notification of battle events: %', SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_notify_votes AFTER INSERT ON battles.votes
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION worker.fn_notify_votes();

CREATE TRIGGER lf_worker_notify_battle_events AFTER INSERT ON battles.events
    FOR EACH STATEMENT EXECUTE FUNCTION worker.fn_notify_battle_events();

-- Where this database knows voters' addresses from: auth.sessions, or null when from nowhere.
CREATE FUNCTION worker.fn_vote_address_source() RETURNS text
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT 'auth.sessions' FROM pg_attribute a
    WHERE a.attrelid = to_regclass('auth.sessions') AND a.attname = 'ip' AND NOT a.attisdropped
      AND has_table_privilege(a.attrelid, 'SELECT')
$$;

-- The newest votes that people cast in a battle, oldest first, with what is known about each voter at that
-- time. `address` is a hash: equal for voters who signed in from one address, or one IPv6 network.
CREATE FUNCTION worker.fn_votes_to_inspect(p_battle_id uuid, p_limit integer)
RETURNS TABLE (
    vote_id uuid, voter_id uuid, choice text, cast_at timestamptz, account_created_at timestamptz,
    is_unknown boolean, address text
)
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
DECLARE
    v_address text := CASE WHEN worker.fn_vote_address_source() IS NULL THEN 'SELECT NULL::text AS address' ELSE
        'SELECT left(encode(sha256(host(network(set_masklen(
                    s.ip, CASE family(s.ip) WHEN 6 THEN 64 ELSE 32 END)))::bytea), ''hex''), 16) AS address
         FROM auth.sessions s WHERE s.user_id = p.user_id AND s.ip IS NOT NULL AND s.created_at <= v.created_at
         ORDER BY s.created_at DESC LIMIT 1' END;
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT v.id, v.voter_lenser_id, v.vote_value::text, v.created_at, coalesce(u.created_at, p.created_at),
                NOT EXISTS (SELECT FROM battles.votes o
                            WHERE o.voter_lenser_id = v.voter_lenser_id AND o.battle_id <> v.battle_id)
                AND NOT EXISTS (SELECT FROM battles.contenders c WHERE c.contender_ref_id = v.voter_lenser_id),
                origin.address
         FROM (SELECT * FROM battles.votes w WHERE w.battle_id = $1 AND NOT w.is_ai_vote
               ORDER BY w.created_at DESC LIMIT $2) AS v
         JOIN lensers.profiles p ON p.id = v.voter_lenser_id
         LEFT JOIN auth.users u ON u.id = p.user_id
         LEFT JOIN LATERAL (%s) AS origin ON true
         ORDER BY v.created_at, v.id', v_address)
    USING p_battle_id, p_limit;
END $$;

-- Shadow: the platform's scan says `high_concentration` of everybody, because a single vote is always all of
-- its voter's votes; it counts from five on. The voter goes by both names that readers know.
CREATE FUNCTION worker.fn_detect_suspicious_voting(p_battle_id uuid) RETURNS SETOF jsonb
LANGUAGE sql SET search_path = '' AS $$
    SELECT found || jsonb_build_object('voter_id', found -> 'voter_lenser_id')
    FROM public.fn_detect_suspicious_voting(p_battle_id) AS found
    WHERE found ->> 'reason' <> 'high_concentration' OR 5 <= (
        SELECT count(*) FROM battles.votes v
        WHERE v.battle_id = p_battle_id AND v.voter_lenser_id = (found ->> 'voter_lenser_id')::uuid)
$$;

-- Shadow: the platform's function adds the same flag again and again. One that somebody resolved stays so.
CREATE FUNCTION worker.fn_flag_vote_anomaly(
    p_battle_id uuid, p_voter_id uuid, p_type text, p_score double precision
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('worker.vote_anomalies'), hashtext(p_battle_id::text));
    IF NOT EXISTS (
        SELECT FROM audit.vote_anomalies a
        WHERE a.battle_id = p_battle_id AND a.voter_lenser_id = p_voter_id AND a.anomaly_type = p_type) THEN
        PERFORM public.fn_flag_vote_anomaly(p_battle_id, p_voter_id, p_type, p_score);
    END IF;
END $$;

-- Everything that was done about votes, once each, with the evidence it was done on.
CREATE TABLE worker.vote_actions (
    battle_id uuid NOT NULL,
    action text NOT NULL CHECK (action IN (
        'flag',      -- the voter stands on the platform's list of anomalies
        'risk',      -- the vote's risk status was set, to `detail`
        'decision',  -- the battle was flagged by a moderation decision
        'notify',    -- the battle's owner was told
        'hold'       -- the battle's result waits for a person
    )),
    -- the voter, or else the battle
    subject uuid NOT NULL,
    -- the type of the signal, or the status that was set
    detail text NOT NULL,
    score double precision NOT NULL,
    evidence jsonb NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    -- why the platform refused it
    error text,
    PRIMARY KEY (battle_id, action, subject, detail)
);

-- Battles whose result is not to be found before a person has looked at their votes.
CREATE TABLE worker.finalize_holds (
    battle_id uuid PRIMARY KEY,
    reason text NOT NULL,
    score double precision NOT NULL,
    held_at timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    released_by text
);

-- Release a held battle; whoever does it is written down. False when it isn't held.
CREATE FUNCTION worker.release_finalize_hold(p_battle_id uuid, p_released_by text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE worker.finalize_holds h SET released_at = now(), released_by = p_released_by
    WHERE h.battle_id = p_battle_id AND h.released_at IS NULL;
    RETURN FOUND;
END $$;

-- Holds that count. One ends by release_finalize_hold, or when each of the battle's anomalies was resolved
-- with the platform's own means.
CREATE VIEW worker.held_battles AS
    SELECT h.battle_id, b.title, h.reason, h.score, h.held_at
    FROM worker.finalize_holds h JOIN battles.battles b ON b.id = h.battle_id
    WHERE h.released_at IS NULL AND EXISTS (
        SELECT FROM audit.vote_anomalies a WHERE a.battle_id = h.battle_id AND a.resolved_at IS NULL);
COMMENT ON VIEW worker.held_battles IS 'Battles that are not closed before somebody has looked at their votes.';

-- What can be closed now also leaves out the battles that are held.
CREATE OR REPLACE VIEW worker.due_results AS
    SELECT b.id, b.title, b.status, b.voting_closes_at
    FROM battles.battles b
    WHERE b.status IN ('voting', 'scoring') AND b.voting_closes_at <= now() AND b.deleted_at IS NULL
      AND (NOT coalesce(b.ai_judge_enabled, false)
           OR EXISTS (SELECT FROM battles.ai_judge_verdicts v WHERE v.battle_id = b.id))
      AND NOT EXISTS (SELECT FROM worker.held_battles h WHERE h.battle_id = b.id);

-- Lock the held battles until the transaction ends, so that the platform's own cycle leaves them out.
CREATE FUNCTION worker.fn_lock_held_battles() RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_count integer;
BEGIN
    PERFORM FROM battles.battles b
    WHERE b.status IN ('voting', 'scoring') AND b.id IN (SELECT h.battle_id FROM worker.held_battles h)
    ORDER BY b.id FOR UPDATE;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Flag a battle for the platform's moderators.
CREATE FUNCTION worker.fn_decide_battle_flagged(p_battle_id uuid, p_reason text, p_confidence double precision)
RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO audit.moderation_decisions (
        target_entity_schema, target_entity_table, target_entity_id, decision_type, reason, is_ai_moderated,
        ai_confidence)
    VALUES ('battles', 'battles', p_battle_id, 'flagged', p_reason, true, round(least(p_confidence, 1)::numeric, 4))
$$;

-- Do one thing about votes. What the platform refuses raises its error.
CREATE FUNCTION worker.fn_take_vote_action(p_battle_id uuid, p_action jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_score double precision := (p_action ->> 'score')::double precision;
    v_subject uuid := (p_action ->> 'subject')::uuid;
    v_text text := p_action ->> 'text';
BEGIN
    CASE p_action ->> 'action'
    WHEN 'flag' THEN
        PERFORM fn_flag_vote_anomaly(p_battle_id, v_subject, p_action ->> 'detail', v_score);
    WHEN 'risk' THEN
        PERFORM fn_worker_update_vote_risk_score(
            v.id, round(least(v_score, 1)::numeric, 4), ARRAY(SELECT jsonb_array_elements_text(p_action #> '{evidence,signals}')),
            p_action ->> 'detail')
        FROM battles.votes v WHERE v.battle_id = p_battle_id AND v.voter_lenser_id = v_subject;
    WHEN 'decision' THEN
        PERFORM worker.fn_decide_battle_flagged(p_battle_id, v_text, v_score);
    WHEN 'notify' THEN
        PERFORM fn_insert_notification(
            b.creator_lenser_id, 'system', 'Unusual votes in ' || b.title, v_text, '/battles/' || b.slug,
            jsonb_build_object('battle_id', b.id, 'signal', p_action ->> 'detail'))
        FROM battles.battles b WHERE b.id = p_battle_id;
    WHEN 'hold' THEN
        INSERT INTO worker.finalize_holds AS h (battle_id, reason, score) VALUES (p_battle_id, v_text, v_score)
        ON CONFLICT (battle_id) DO UPDATE SET reason = excluded.reason, score = excluded.score, held_at = now(),
            released_at = NULL, released_by = NULL;
    END CASE;
END $$;

-- Take the actions that were not taken before, in order, and give those. An action that the platform refuses,
-- say because the voter's profile is gone, is recorded with its error and holds up no other.
CREATE FUNCTION worker.fn_take_vote_actions(p_battle_id uuid, p_actions jsonb) RETURNS SETOF worker.vote_actions
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_action jsonb;
    v_taken worker.vote_actions;
BEGIN
    FOR v_action IN SELECT a.value FROM jsonb_array_elements(p_actions) WITH ORDINALITY AS a ORDER BY a.ordinality LOOP
        INSERT INTO worker.vote_actions (battle_id, action, subject, detail, score, evidence)
        VALUES (p_battle_id, v_action ->> 'action', (v_action ->> 'subject')::uuid, v_action ->> 'detail',
                (v_action ->> 'score')::double precision, v_action -> 'evidence')
        ON CONFLICT DO NOTHING
        RETURNING * INTO v_taken;
        CONTINUE WHEN NOT FOUND;
        BEGIN
            PERFORM worker.fn_take_vote_action(p_battle_id, v_action);
        EXCEPTION WHEN OTHERS THEN
            UPDATE worker.vote_actions t SET error = SQLERRM
            WHERE (t.battle_id, t.action, t.subject, t.detail)
                = (v_taken.battle_id, v_taken.action, v_taken.subject, v_taken.detail)
            RETURNING * INTO v_taken;
        END;
        RETURN NEXT v_taken;
    END LOOP;
END $$;

-- Write down that an inspection has seen every vote of transactions below p_seen_below, and serialise those
-- who act on one battle.
CREATE FUNCTION worker.fn_finish_inspection(
    p_battle_id uuid, p_began_at timestamptz, p_seen_below bigint, p_votes integer
) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO worker.vote_inspections AS i (battle_id, wanted_at, inspected_at, seen_below, votes_seen, inspections)
    VALUES (p_battle_id, p_began_at, p_began_at, p_seen_below, p_votes, 1)
    ON CONFLICT (battle_id) DO UPDATE
    SET inspected_at = greatest(i.inspected_at, p_began_at), seen_below = greatest(i.seen_below, p_seen_below),
        votes_seen = greatest(i.votes_seen, p_votes), inspections = i.inspections + 1
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
