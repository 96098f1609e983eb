-- A stand-in for Supabase Realtime's broadcast from the database: messages are kept, nobody delivers them.

CREATE SCHEMA realtime;

CREATE TABLE realtime.messages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    topic text NOT NULL,
    extension text NOT NULL,
    payload jsonb,
    event text,
    private boolean DEFAULT false,
    inserted_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);

-- Like Supabase's own: the message goes out with the transaction, its id is added to the payload, and an
-- error is swallowed as a warning.
CREATE FUNCTION realtime.send(payload jsonb, event text, topic text, private boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    generated_id uuid := gen_random_uuid();
BEGIN
    EXECUTE format('SET LOCAL realtime.topic TO %L', topic);
    INSERT INTO realtime.messages (id, payload, event, topic, private, extension)
    VALUES (
        generated_id,
        CASE WHEN payload ? 'id' THEN payload ELSE payload || jsonb_build_object('id', generated_id) END,
        event, topic, private, 'broadcast'
    );
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'WarnSendingBroadcastMessage: %', SQLERRM;
END
$$;

GRANT USAGE ON SCHEMA realtime TO anon, authenticated, service_role;
GRANT SELECT, INSERT ON realtime.messages TO anon, authenticated, service_role;
