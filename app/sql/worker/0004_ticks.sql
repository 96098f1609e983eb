-- Ticks: which due time of which sweep has been done, so that each is done once however many schedulers run.

CREATE TABLE worker.ticks (
    sweep text NOT NULL,
    slot timestamptz NOT NULL,
    -- the message that does it; when its worker dies the same message comes again and goes on
    message_id uuid NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (sweep, slot)
);

CREATE INDEX ticks_unfinished ON worker.ticks (message_id) WHERE finished_at IS NULL;

-- Begin the tick of a slot, or go on with the one that this message had begun; null when another message
-- has it. Gives the slot that is to be done.
CREATE FUNCTION worker.begin_tick(p_sweep text, p_slot timestamptz, p_message_id uuid) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_slot timestamptz;
BEGIN
    SELECT t.slot INTO v_slot FROM worker.ticks t
    WHERE t.message_id = p_message_id AND t.finished_at IS NULL;
    IF FOUND THEN
        RETURN v_slot;
    END IF;
    INSERT INTO worker.ticks (sweep, slot, message_id) VALUES (p_sweep, p_slot, p_message_id)
    ON CONFLICT (sweep, slot) DO NOTHING
    RETURNING slot INTO v_slot;
    DELETE FROM worker.ticks t WHERE t.sweep = p_sweep AND t.slot < p_slot - interval '2 days';
    RETURN v_slot;
END $$;

CREATE FUNCTION worker.finish_tick(p_message_id uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE worker.ticks t SET finished_at = now() WHERE t.message_id = p_message_id AND t.finished_at IS NULL
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA worker, dramatiq FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker, dramatiq FROM PUBLIC;
