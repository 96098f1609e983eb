-- Battle event subscriptions: who wants to hear of a battle, and the fan-out of its events to the outbox.

CREATE TABLE IF NOT EXISTS battles.battle_event_subscriptions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    battle_id uuid NOT NULL REFERENCES battles.battles ON DELETE CASCADE,
    owner_id uuid NOT NULL REFERENCES auth.users ON DELETE CASCADE,
    webhook_url text NOT NULL,
    event_types text[] NOT NULL,
    secret_hmac text NOT NULL,  -- 32 random bytes in hex
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

GRANT ALL ON battles.battle_event_subscriptions TO service_role;

CREATE FUNCTION public.fn_battles_subscribe_webhook(
    p_battle_id uuid, p_webhook_url text, p_event_types text[]
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    v_id uuid;
BEGIN
    IF auth.uid() IS NULL THEN
        RAISE EXCEPTION 'access_denied' USING ERRCODE = '42501';
    END IF;
    INSERT INTO battles.battle_event_subscriptions (battle_id, owner_id, webhook_url, event_types, secret_hmac)
    VALUES (p_battle_id, auth.uid(), p_webhook_url, p_event_types,
            replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))
    RETURNING id INTO v_id;
    RETURN v_id;
END $$;

CREATE FUNCTION public.fn_battles_notify_webhooks(p_battle_id uuid, p_event_type text, p_payload jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO audit.webhook_outbox (event_type, payload, target_url)
    SELECT p_event_type, p_payload, subscription.webhook_url
    FROM battles.battle_event_subscriptions AS subscription
    WHERE subscription.battle_id = p_battle_id AND subscription.revoked_at IS NULL
      AND p_event_type = ANY (subscription.event_types);
END $$;

REVOKE ALL ON FUNCTION public.fn_battles_subscribe_webhook, public.fn_battles_notify_webhooks
    FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION public.fn_battles_subscribe_webhook TO authenticated, service_role;
GRANT EXECUTE ON FUNCTION public.fn_battles_notify_webhooks TO service_role;

CREATE FUNCTION battles.fn_notify_webhooks_of_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM public.fn_battles_notify_webhooks(NEW.id, 'status_change', to_jsonb(NEW));
    RETURN NULL;
END $$;

CREATE TRIGGER trg_battles_status_webhook AFTER UPDATE OF status ON battles.battles
    FOR EACH ROW WHEN (NEW.status IS DISTINCT FROM OLD.status)
    EXECUTE FUNCTION battles.fn_notify_webhooks_of_status();
