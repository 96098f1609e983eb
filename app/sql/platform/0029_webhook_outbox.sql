-- The webhook outbox: what the platform wants to tell other systems, and the SQL dispatcher it has for it.

CREATE TABLE audit.webhook_outbox (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_type text NOT NULL,
    payload jsonb NOT NULL,
    target_url text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 5,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    last_error text,
    dead_lettered_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX webhook_outbox_due ON audit.webhook_outbox (next_attempt_at)
    WHERE delivered_at IS NULL AND dead_lettered_at IS NULL;

GRANT ALL ON audit.webhook_outbox TO service_role;

-- Hands rows to pg_net where that extension is; there is none here, so it hands out nothing.
CREATE FUNCTION audit.fn_dispatch_webhook_outbox(p_batch integer DEFAULT 50) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    RETURN 0;
END $$;

-- Without a secret, strict signing puts all due rows off instead of sending them unsigned.
CREATE FUNCTION audit.fn_cron_dispatch_webhook_outbox() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF current_setting('app.webhook_strict_signing', true) = 'true'
       AND coalesce(current_setting('app.webhook_signing_secret', true), '') = '' THEN
        UPDATE audit.webhook_outbox AS row
        SET next_attempt_at = now() + interval '5 minutes', last_error = 'strict_signing_no_secret'
        WHERE row.delivered_at IS NULL AND row.dead_lettered_at IS NULL AND row.next_attempt_at <= now();
        RETURN 0;
    END IF;
    RETURN audit.fn_dispatch_webhook_outbox();
END $$;

REVOKE ALL ON FUNCTION audit.fn_dispatch_webhook_outbox, audit.fn_cron_dispatch_webhook_outbox
    FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION audit.fn_dispatch_webhook_outbox, audit.fn_cron_dispatch_webhook_outbox
    TO service_role;
