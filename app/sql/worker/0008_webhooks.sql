-- Webhooks: which rows of the platform's outbox go where and when, what became of each attempt, and the
-- triggers that turn new rows and battles' changes of status into deliveries.
--
-- What every delivery calls is written in plpgsql, which keeps its plans for the session.

-- A destination: a battle subscription, by its id, or else a URL of the platform's own.
CREATE TABLE worker.webhook_endpoints (
    endpoint text PRIMARY KEY,
    failures integer NOT NULL DEFAULT 0,  -- since the last success
    failing_since timestamptz,
    last_success_at timestamptz,
    disabled_at timestamptz,
    disabled_reason text
);

-- One row per row of audit.webhook_outbox. Which one is due at which host is asked here, where there is an
-- index for it; whether it is still to be delivered is the outbox's to say.
CREATE TABLE worker.webhook_deliveries (
    outbox_id uuid PRIMARY KEY,
    subscription_id uuid,
    endpoint text NOT NULL,
    host text NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN (
        'waiting',    -- for its time, and then for a slot of its host
        'sending',    -- a claim is open, or its worker has just died
        'delivered',
        'dead'        -- given up, or stopped with its endpoint
    )),
    due_at timestamptz NOT NULL,
    ended_at timestamptz
) WITH (fillfactor = 80);

CREATE INDEX webhook_deliveries_waiting ON worker.webhook_deliveries (host, due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_stoppable ON worker.webhook_deliveries (endpoint) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_sending ON worker.webhook_deliveries (host) WHERE state = 'sending';
CREATE INDEX webhook_deliveries_ended ON worker.webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE worker.webhook_attempts (
    outbox_id uuid NOT NULL,
    number integer NOT NULL,
    started_at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    status integer,      -- of the response, if there was one
    response_head text,  -- its first bytes, if it was not a success
    error_code text,
    error_message text,
    PRIMARY KEY (outbox_id, number)
);

CREATE TABLE worker.webhook_replays (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    outbox_id uuid NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL,
    was_delivered_at timestamptz,
    was_dead_lettered_at timestamptz,
    last_error text
);

-- The secret that a subscription had before; signs beside the new one while receivers change over.
CREATE TABLE worker.webhook_previous_secrets (
    subscription_id uuid PRIMARY KEY,
    secret text NOT NULL,
    live_until timestamptz NOT NULL
);

-- The host of a URL without its port, so that ports don't multiply the slots of one machine.
CREATE FUNCTION worker.webhook_host(p_url text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = '' AS $$
    SELECT coalesce(lower(substring(p_url FROM '^[A-Za-z]+://(?:[^/?#]*@)?(\[[^]/?#]*\]|[^:/?#]*)')), '')
$$;

-- Most requests that all processes together have open to one host.
CREATE FUNCTION worker.webhook_slots() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = '' AS 'SELECT 4';

CREATE FUNCTION worker.webhooks_enabled() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN (
        SELECT coalesce(
            (SELECT f.value <> 'false'::jsonb FROM platform.system_flags f WHERE f.key = 'webhook_outbox_enabled'), true)
    );
END $$;

-- Claims and ends at one host take turns, so that a freed slot and a new row can't miss each other.
CREATE FUNCTION worker.lock_webhook_host(p_host text) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    SELECT pg_advisory_xact_lock(hashtext('worker.webhook_host'), hashtext(p_host))
$$;

-- A slot is taken while a claim is open, also one whose worker died: its message comes again within seconds.
CREATE FUNCTION worker.free_webhook_slots(p_host text) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN (
        SELECT worker.webhook_slots() - count(*)::integer
        FROM worker.webhook_deliveries d
        JOIN worker.claims c ON c.kind = 'webhook_delivery' AND c.job = d.outbox_id AND c.finished_at IS NULL
        WHERE d.host = p_host AND d.state = 'sending'
    );
END $$;

-- Every host with waiting rows: how many are due, up to its slots, since when, and how many slots are free.
CREATE FUNCTION worker.webhook_hosts()
RETURNS TABLE (host text, due integer, oldest_due_at timestamptz, free_slots integer)
LANGUAGE sql STABLE SET search_path = '' AS $$
    WITH RECURSIVE hosts AS (  -- steps from host to host in the index, past any number of rows
        SELECT (SELECT d.host FROM worker.webhook_deliveries d WHERE d.state = 'waiting'
                ORDER BY d.host LIMIT 1) AS host
        UNION ALL
        SELECT (SELECT d.host FROM worker.webhook_deliveries d WHERE d.state = 'waiting' AND d.host > h.host
                ORDER BY d.host LIMIT 1)
        FROM hosts h WHERE h.host IS NOT NULL
    )
    SELECT h.host, w.due, w.oldest_due_at, worker.free_webhook_slots(h.host)
    FROM hosts h
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS due, min(o.due_at) AS oldest_due_at
        FROM (SELECT d.due_at FROM worker.webhook_deliveries d
              WHERE d.host = h.host AND d.state = 'waiting' AND d.due_at <= now()
              ORDER BY d.due_at LIMIT worker.webhook_slots()) AS o
    ) AS w
    WHERE h.host IS NOT NULL AND w.due > 0
$$;

-- Write tickets for waiting deliveries. A ticket stands for a slot of the host that its delivery goes to:
-- it serves whichever row is due there first, so a host needs no more of them than it has slots.
CREATE FUNCTION worker.write_webhook_tickets(p_outbox_ids uuid[]) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    RETURN (
        SELECT worker.enqueue_messages(
            array_agg(worker.message(gen_random_uuid(), k.actor, k.queue, jsonb_build_object('job', t.outbox_id))),
            array_agg(t.delay_ms))
        FROM worker.kinds k
        CROSS JOIN (
            SELECT d.outbox_id, greatest(0, ceil(extract(epoch FROM d.due_at - now()) * 1000))::bigint AS delay_ms,
                   row_number() OVER (PARTITION BY d.host, d.due_at <= now() ORDER BY d.due_at) AS rank_at_host
            FROM worker.webhook_deliveries d WHERE d.outbox_id = ANY (p_outbox_ids) AND d.state = 'waiting'
        ) AS t
        WHERE k.kind = 'webhook_delivery' AND (t.delay_ms > 0 OR t.rank_at_host <= worker.webhook_slots())
        HAVING count(*) > 0
    );
END $$;

-- Why nothing may be sent any more, although the row waits; null when nothing speaks against it.
CREATE FUNCTION worker.webhook_refusal(p_outbox_id uuid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN (
        SELECT CASE
            WHEN e.disabled_at IS NOT NULL THEN 'webhook.endpoint_disabled: ' || coalesce(e.disabled_reason, '')
            WHEN d.subscription_id IS NOT NULL AND (s.id IS NULL OR s.revoked_at IS NOT NULL)
                THEN 'webhook.subscription_revoked'
        END
        FROM worker.webhook_deliveries d
        LEFT JOIN worker.webhook_endpoints e ON e.endpoint = d.endpoint
        LEFT JOIN battles.battle_event_subscriptions s ON s.id = d.subscription_id
        WHERE d.outbox_id = p_outbox_id
    );
END $$;

-- The secrets that sign a delivery, the newest first: its subscription's, or else the platform's.
CREATE FUNCTION worker.webhook_secrets(p_subscription_id uuid) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = '' AS $$
BEGIN
    RETURN (
        SELECT array_remove(CASE WHEN p_subscription_id IS NULL
            THEN ARRAY[nullif(current_setting('app.webhook_signing_secret', true), '')]
            ELSE ARRAY[
                (SELECT s.secret_hmac FROM battles.battle_event_subscriptions s WHERE s.id = p_subscription_id),
                (SELECT p.secret FROM worker.webhook_previous_secrets p
                 WHERE p.subscription_id = p_subscription_id AND p.live_until > now())]
            END, NULL)
    );
END $$;

-- Give up all waiting deliveries of an endpoint.
CREATE FUNCTION worker.stop_webhooks(p_endpoint text, p_reason text) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_ids uuid[];
BEGIN
    WITH stopped AS (
        UPDATE worker.webhook_deliveries d SET state = 'dead', ended_at = now()
        WHERE d.endpoint = p_endpoint AND d.state = 'waiting' RETURNING d.outbox_id
    )
    SELECT array_agg(s.outbox_id) INTO v_ids FROM stopped s;
    UPDATE audit.webhook_outbox o SET dead_lettered_at = now(), last_error = left(p_reason, 1000)
    WHERE o.id = ANY (v_ids) AND o.delivered_at IS NULL AND o.dead_lettered_at IS NULL;
    RETURN coalesce(cardinality(v_ids), 0);
END $$;

CREATE FUNCTION worker.disable_webhook_endpoint(p_endpoint text, p_reason text) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO worker.webhook_endpoints AS e (endpoint, disabled_at, disabled_reason)
    VALUES (p_endpoint, now(), p_reason)
    ON CONFLICT (endpoint) DO UPDATE SET disabled_at = now(), disabled_reason = p_reason;
    RETURN worker.stop_webhooks(p_endpoint, 'webhook.endpoint_disabled: ' || p_reason);
END $$;

-- A claimed delivery while it is still to be sent, its outbox row locked; else null. `payload` is text:
-- jsonb's own form of it is what receivers have always been sent.
CREATE FUNCTION worker.fn_sending_webhook(p_outbox_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_job jsonb;
BEGIN
    SELECT jsonb_build_object(
        'outbox_id', o.id, 'event_type', o.event_type, 'target_url', o.target_url, 'attempts', o.attempts,
        'payload', (CASE WHEN d.subscription_id IS NULL THEN o.payload
                         ELSE o.payload - 'invite_code' END)::text,  -- opens a private battle to anybody
        'endpoint', d.endpoint, 'subscription_id', d.subscription_id,
        'battle_id', (SELECT s.battle_id FROM battles.battle_event_subscriptions s WHERE s.id = d.subscription_id),
        'secrets', to_jsonb(worker.webhook_secrets(d.subscription_id)),
        'failing_seconds', (SELECT extract(epoch FROM now() - e.failing_since)
                            FROM worker.webhook_endpoints e WHERE e.endpoint = d.endpoint),
        'refusal', worker.webhook_refusal(o.id))
    INTO v_job
    FROM audit.webhook_outbox o JOIN worker.webhook_deliveries d ON d.outbox_id = o.id
    WHERE o.id = p_outbox_id AND d.state = 'sending'
    FOR UPDATE OF o;
    RETURN v_job;
END $$;

-- Whether a waiting delivery may be sent now; one that may not is ended, stopped, or put off.
CREATE FUNCTION worker.admit_webhook(p_outbox_id uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_row audit.webhook_outbox;
    v_delivery worker.webhook_deliveries;
    v_refusal text := worker.webhook_refusal(p_outbox_id);
    v_not_before timestamptz;
BEGIN
    SELECT * INTO v_delivery FROM worker.webhook_deliveries d WHERE d.outbox_id = p_outbox_id;
    SELECT * INTO v_row FROM audit.webhook_outbox o WHERE o.id = p_outbox_id FOR UPDATE;
    IF v_row.id IS NULL OR v_row.delivered_at IS NOT NULL OR v_row.dead_lettered_at IS NOT NULL THEN
        UPDATE worker.webhook_deliveries d SET ended_at = now(),
            state = CASE WHEN v_row.delivered_at IS NULL THEN 'dead' ELSE 'delivered' END
        WHERE d.outbox_id = p_outbox_id;
        RETURN false;
    END IF;
    IF v_refusal IS NOT NULL THEN
        PERFORM worker.stop_webhooks(v_delivery.endpoint, v_refusal);
        RETURN false;
    END IF;
    v_not_before := v_row.next_attempt_at;
    IF current_setting('app.webhook_strict_signing', true) = 'true'
       AND cardinality(worker.webhook_secrets(v_delivery.subscription_id)) = 0 THEN
        v_not_before := now() + interval '5 minutes';
        UPDATE audit.webhook_outbox o SET next_attempt_at = v_not_before, last_error = 'strict_signing_no_secret'
        WHERE o.id = p_outbox_id;
    END IF;
    IF v_not_before > now() THEN
        UPDATE worker.webhook_deliveries d SET due_at = v_not_before WHERE d.outbox_id = p_outbox_id;
        PERFORM worker.write_webhook_tickets(ARRAY[p_outbox_id]);
        RETURN false;
    END IF;
    RETURN true;
END $$;

-- Claim the row that is due first at the host a ticket was written for; without a hint, at the host that has
-- waited longest among those with a free slot. Null when that host has no slot or nothing due: whoever holds
-- its slots writes a new ticket on ending.
CREATE FUNCTION worker.fn_claim_webhook(p_hint uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_host text;
    v_id uuid;
BEGIN
    IF p_hint IS NULL THEN
        SELECT h.host INTO v_host FROM worker.webhook_hosts() h WHERE h.free_slots > 0 ORDER BY h.oldest_due_at LIMIT 1;
    ELSE
        SELECT d.host INTO v_host FROM worker.webhook_deliveries d WHERE d.outbox_id = p_hint;
    END IF;
    IF v_host IS NULL OR NOT worker.webhooks_enabled() THEN
        RETURN NULL;
    END IF;
    PERFORM worker.lock_webhook_host(v_host);
    IF worker.free_webhook_slots(v_host) <= 0 THEN
        RETURN NULL;
    END IF;
    LOOP
        SELECT d.outbox_id INTO v_id FROM worker.webhook_deliveries d
        WHERE d.host = v_host AND d.state = 'waiting' AND d.due_at <= now()
        ORDER BY d.due_at LIMIT 1;
        EXIT WHEN v_id IS NULL OR worker.admit_webhook(v_id);
    END LOOP;
    UPDATE worker.webhook_deliveries d SET state = 'sending' WHERE d.outbox_id = v_id;
    -- Keeps the database's own dispatcher away, should one run.
    UPDATE audit.webhook_outbox o SET next_attempt_at = now() + interval '10 minutes' WHERE o.id = v_id;
    RETURN worker.fn_sending_webhook(v_id);
END $$;

-- Write down what an attempt came to, in the transaction that ends its claim; p_report is null where nothing
-- was sent. p_verdict: delivered | retry (after p_delay_ms) | dead | disable (dead, with its endpoint).
CREATE FUNCTION worker.settle_webhook(
    p_outbox_id uuid, p_verdict text, p_reason text, p_report jsonb, p_delay_ms bigint DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_delivery worker.webhook_deliveries;
    v_next uuid;
    v_due timestamptz := now() + p_delay_ms * interval '1 millisecond';
BEGIN
    SELECT * INTO v_delivery FROM worker.webhook_deliveries d WHERE d.outbox_id = p_outbox_id;
    PERFORM worker.lock_webhook_host(v_delivery.host);
    IF p_report IS NOT NULL THEN
        INSERT INTO worker.webhook_attempts
        SELECT p_outbox_id, 1 + coalesce(max(a.number), 0),
               now() - (p_report ->> 'duration_ms')::integer * interval '1 millisecond',
               (p_report ->> 'duration_ms')::integer, (p_report ->> 'status')::integer,
               p_report ->> 'response_head', p_report ->> 'error_code', p_report ->> 'error_message'
        FROM worker.webhook_attempts a WHERE a.outbox_id = p_outbox_id;
        INSERT INTO worker.webhook_endpoints AS e (endpoint, failures, failing_since, last_success_at)
        VALUES (v_delivery.endpoint, (p_verdict <> 'delivered')::integer,
                CASE WHEN p_verdict <> 'delivered' THEN now() END, CASE WHEN p_verdict = 'delivered' THEN now() END)
        ON CONFLICT (endpoint) DO UPDATE SET
            failures = CASE WHEN p_verdict = 'delivered' THEN 0 ELSE e.failures + 1 END,
            failing_since = CASE WHEN p_verdict <> 'delivered' THEN coalesce(e.failing_since, now()) END,
            last_success_at = coalesce(excluded.last_success_at, e.last_success_at);
    END IF;
    UPDATE worker.webhook_deliveries d
    SET state = CASE p_verdict WHEN 'delivered' THEN 'delivered' WHEN 'retry' THEN 'waiting' ELSE 'dead' END,
        due_at = coalesce(v_due, d.due_at), ended_at = CASE WHEN p_verdict <> 'retry' THEN now() END
    WHERE d.outbox_id = p_outbox_id;
    UPDATE audit.webhook_outbox o
    SET attempts = o.attempts + (p_report IS NOT NULL)::integer,
        max_attempts = greatest(o.max_attempts, o.attempts + 1 + (p_verdict = 'retry')::integer),
        delivered_at = CASE WHEN p_verdict = 'delivered' THEN now() END,
        dead_lettered_at = CASE WHEN p_verdict IN ('dead', 'disable') THEN now() END,
        next_attempt_at = coalesce(v_due, o.next_attempt_at),
        last_error = CASE WHEN p_verdict <> 'delivered' THEN left(p_reason, 1000) END
    WHERE o.id = p_outbox_id;
    IF p_verdict = 'retry' THEN
        PERFORM worker.write_webhook_tickets(ARRAY[p_outbox_id]);
        -- The row waits in the outbox again; another ticket will claim it.
        DELETE FROM worker.claims c
        WHERE c.kind = 'webhook_delivery' AND c.job = p_outbox_id AND c.finished_at = now();
    ELSIF p_verdict = 'disable' THEN
        PERFORM worker.disable_webhook_endpoint(v_delivery.endpoint, p_reason);
    END IF;
    SELECT d.outbox_id INTO v_next FROM worker.webhook_deliveries d
    WHERE d.host = v_delivery.host AND d.state = 'waiting' AND d.due_at <= now() ORDER BY d.due_at LIMIT 1;
    IF v_next IS NOT NULL THEN
        PERFORM worker.write_webhook_tickets(ARRAY[v_next]);
    END IF;
END $$;

-- Tickets that should be there: one for each free slot that a due row could use, and the delayed ones, which
-- the sweep counts among the waiting.
CREATE FUNCTION worker.count_claimable_webhooks() RETURNS bigint
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE WHEN worker.webhooks_enabled() THEN coalesce(
        (SELECT sum(greatest(0, least(h.due, h.free_slots))) FROM worker.webhook_hosts() h), 0) ELSE 0 END
        + (SELECT count(*) FROM dramatiq.queue q
           WHERE q.queue_name = 'webhooks' AND q.state = 'queued' AND q.mtime > now()
             AND q.message ->> 'actor_name' = 'deliver_webhook'
             AND NOT EXISTS (SELECT FROM worker.claims c WHERE c.message_id = q.message_id))
$$;

INSERT INTO worker.kinds (kind, actor, queue, claim_next, reload, id_key, count_claimable, replay) VALUES (
    'webhook_delivery', 'deliver_webhook', 'webhooks',
    'SELECT worker.fn_claim_webhook($1)',
    'SELECT worker.fn_sending_webhook($1)',
    'outbox_id',
    'SELECT worker.count_claimable_webhooks()',
    'SELECT worker.replay_webhook(
         $1, coalesce(nullif(current_setting(''worker.ticket_delay_ms'', true), ''''), ''0'')::bigint, session_user)');

-- Take up the due rows of the outbox that no trigger told us of, or that a person set back, and write the
-- tickets that are missing; gives their number. Replaces the platform's function, which calls a row delivered
-- as soon as it is queued.
CREATE FUNCTION worker.fn_dispatch_webhook_outbox(p_batch integer DEFAULT 50) RETURNS integer
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    INSERT INTO worker.webhook_deliveries AS d (outbox_id, endpoint, host, due_at)
    SELECT o.id, o.target_url, worker.webhook_host(o.target_url), o.next_attempt_at
    FROM audit.webhook_outbox o
    LEFT JOIN worker.webhook_deliveries known ON known.outbox_id = o.id
    WHERE o.delivered_at IS NULL AND o.dead_lettered_at IS NULL AND o.next_attempt_at <= now()
      AND (known.outbox_id IS NULL OR known.state IN ('delivered', 'dead')
           OR (known.state = 'waiting' AND known.due_at > now()))
    ORDER BY o.next_attempt_at LIMIT p_batch
    ON CONFLICT (outbox_id) DO UPDATE SET state = 'waiting', due_at = excluded.due_at, ended_at = NULL;
    RETURN worker.add_missing_tickets('webhook_delivery', p_batch);
END $$;

-- Send a row once more, whatever became of it, under the same id; false while it is being sent.
CREATE FUNCTION worker.replay_webhook(p_outbox_id uuid, p_delay_ms bigint, p_requested_by text) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_due timestamptz := now() + p_delay_ms * interval '1 millisecond';
    v_row audit.webhook_outbox;
BEGIN
    SELECT * INTO v_row FROM audit.webhook_outbox o WHERE o.id = p_outbox_id FOR UPDATE;
    INSERT INTO worker.webhook_deliveries AS d (outbox_id, endpoint, host, due_at)
    SELECT v_row.id, v_row.target_url, worker.webhook_host(v_row.target_url), v_due WHERE v_row.id IS NOT NULL
    ON CONFLICT (outbox_id) DO UPDATE SET state = 'waiting', due_at = v_due, ended_at = NULL
        WHERE d.state <> 'sending';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO worker.webhook_replays (
        outbox_id, requested_by, due_at, was_delivered_at, was_dead_lettered_at, last_error)
    VALUES (p_outbox_id, p_requested_by, v_due, v_row.delivered_at, v_row.dead_lettered_at, v_row.last_error);
    UPDATE audit.webhook_outbox o
    SET delivered_at = NULL, dead_lettered_at = NULL, attempts = 0, next_attempt_at = v_due
    WHERE o.id = p_outbox_id;
    UPDATE worker.claims c SET settled_at = now()
    WHERE c.kind = 'webhook_delivery' AND c.job = p_outbox_id AND c.outcome IN ('failed', 'poison')
      AND c.settled_at IS NULL;
    PERFORM worker.write_webhook_tickets(ARRAY[p_outbox_id]);
    RETURN true;
END $$;

-- Delete one batch of the records of what ended longer ago than that.
CREATE FUNCTION worker.prune_webhooks(p_older_than interval, p_batch integer DEFAULT 1000) RETURNS integer
LANGUAGE sql SET search_path = '' AS $$
    WITH ended AS (
        DELETE FROM worker.webhook_deliveries d WHERE d.outbox_id IN (
            SELECT o.outbox_id FROM worker.webhook_deliveries o WHERE o.ended_at < now() - p_older_than
            ORDER BY o.ended_at LIMIT p_batch FOR UPDATE SKIP LOCKED)
        RETURNING d.outbox_id
    ), attempts AS (
        DELETE FROM worker.webhook_attempts a USING ended e WHERE a.outbox_id = e.outbox_id
    )
    SELECT count(*)::integer FROM ended
$$;

-- Subscribe to a battle. The events are filed as `battle.status_change` and the like, which our trigger knows
-- and the platform's fan-out doesn't: that one fails, and the battle's change of status with it.
CREATE FUNCTION worker.fn_battles_subscribe_webhook(
    p_battle_id uuid, p_webhook_url text, p_event_types text[]
) RETURNS uuid
LANGUAGE sql SET search_path = '' AS $$
    INSERT INTO battles.battle_event_subscriptions (battle_id, owner_id, webhook_url, event_types, secret_hmac)
    SELECT b.id, coalesce(auth.uid(), p.user_id), p_webhook_url,
           ARRAY(SELECT CASE WHEN t LIKE 'battle.%' THEN t ELSE 'battle.' || t END FROM unnest(p_event_types) AS t),
           replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
    FROM battles.battles b JOIN lensers.profiles p ON p.id = b.creator_lenser_id
    WHERE b.id = p_battle_id
    RETURNING id
$$;

-- The platform's own statements must never fail because of the triggers below, hence their catch-alls: what
-- they miss of the outbox the sweep finds within a minute.
CREATE FUNCTION worker.fn_take_up_inserted_webhooks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO worker.webhook_deliveries (outbox_id, endpoint, host, due_at)
    SELECT i.id, i.target_url, worker.webhook_host(i.target_url), i.next_attempt_at
    FROM inserted i WHERE i.delivered_at IS NULL AND i.dead_lettered_at IS NULL;
    PERFORM worker.write_webhook_tickets(ARRAY(SELECT i.id FROM inserted i));
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no delivery for inserted webhooks: %', SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_take_up_inserted_webhooks AFTER INSERT ON audit.webhook_outbox
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION worker.fn_take_up_inserted_webhooks();

-- One delivery for each live subscription to the event. A row that the platform's own fan-out has just
-- written for it is taken over instead of doubled.
CREATE FUNCTION worker.fn_notify_battle_subscriptions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_subscription record;
    v_id uuid;
BEGIN
    FOR v_subscription IN
        SELECT s.id, s.webhook_url, e.event
        FROM battles.battle_event_subscriptions s
        CROSS JOIN unnest(ARRAY['status_change', CASE WHEN NEW.status = 'closed' THEN 'result_ready' END]) AS e (event)
        WHERE s.battle_id = NEW.id AND s.revoked_at IS NULL AND s.event_types && ARRAY[e.event, 'battle.' || e.event]
    LOOP
        SELECT o.id INTO v_id
        FROM audit.webhook_outbox o LEFT JOIN worker.webhook_deliveries d ON d.outbox_id = o.id
        WHERE o.delivered_at IS NULL AND o.dead_lettered_at IS NULL AND o.next_attempt_at = now()
          AND o.created_at = now() AND o.event_type = v_subscription.event
          AND o.target_url = v_subscription.webhook_url AND o.payload -> 'status' = to_jsonb(NEW.status)
          AND o.payload -> 'id' = to_jsonb(NEW.id) AND d.subscription_id IS NULL
        LIMIT 1;
        IF v_id IS NULL THEN
            INSERT INTO audit.webhook_outbox (event_type, payload, target_url)
            VALUES (v_subscription.event, to_jsonb(NEW) - 'invite_code', v_subscription.webhook_url)
            RETURNING id INTO v_id;
        END IF;
        INSERT INTO worker.webhook_deliveries AS d (outbox_id, subscription_id, endpoint, host, due_at)
        VALUES (v_id, v_subscription.id, v_subscription.id, worker.webhook_host(v_subscription.webhook_url), now())
        ON CONFLICT (outbox_id) DO UPDATE SET subscription_id = v_subscription.id, endpoint = v_subscription.id;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no deliveries for a battle''s change of status: %', SQLERRM;
    RETURN NULL;
END $$;

-- Triggers fire in the order of their names: this one after the platform's fan-out.
CREATE TRIGGER zz_lf_worker_notify_battle_subscriptions AFTER UPDATE OF status ON battles.battles
    FOR EACH ROW WHEN (NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION worker.fn_notify_battle_subscriptions();

CREATE FUNCTION worker.fn_keep_replaced_secret() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO worker.webhook_previous_secrets AS p (subscription_id, secret, live_until)
    VALUES (OLD.id, OLD.secret_hmac, now() + interval '24 hours')
    ON CONFLICT (subscription_id) DO UPDATE SET secret = excluded.secret, live_until = excluded.live_until;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: a replaced webhook secret is not kept: %', SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_keep_replaced_secret AFTER UPDATE OF secret_hmac ON battles.battle_event_subscriptions
    FOR EACH ROW WHEN (NEW.secret_hmac IS DISTINCT FROM OLD.secret_hmac)
    EXECUTE FUNCTION worker.fn_keep_replaced_secret();

CREATE VIEW worker.webhook_outbox AS
    SELECT o.id, o.event_type, o.target_url, d.endpoint, d.host, coalesce(d.state, 'unseen') AS state, o.attempts,
           o.next_attempt_at, o.delivered_at, o.dead_lettered_at, o.last_error, o.created_at
    FROM audit.webhook_outbox o LEFT JOIN worker.webhook_deliveries d ON d.outbox_id = o.id;
COMMENT ON VIEW worker.webhook_outbox IS 'The platform''s outbox with what the worker makes of it, without payloads.';

REVOKE ALL ON ALL TABLES IN SCHEMA worker, dramatiq FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker, dramatiq FROM PUBLIC;
