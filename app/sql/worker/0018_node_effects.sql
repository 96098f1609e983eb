-- What nodes of workflows do to the world outside: each effect is written down before it is begun and after
-- the other side has taken it, so that a run which is resumed doesn't do it twice.

CREATE TABLE worker.node_effects (
    run_id uuid NOT NULL,
    node_id uuid NOT NULL,
    effect text NOT NULL,         -- what is done: a node may do several things
    begun_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,          -- null while nobody knows whether the other side has it
    receipt jsonb,                -- what the node gives when it is resumed; never a secret
    PRIMARY KEY (run_id, node_id, effect),
    CHECK ((sent_at IS NULL) = (receipt IS NULL))
);
CREATE INDEX node_effects_begun ON worker.node_effects (begun_at);
COMMENT ON TABLE worker.node_effects IS 'Side effects of workflow nodes: begun, and sent with a receipt.';

-- Write an effect down before it is begun, and say what is known of it. Of equal ones at once, one begins.
CREATE FUNCTION worker.begin_node_effect(
    p_run_id uuid, p_node_id uuid, p_effect text, p_most integer DEFAULT NULL,
    OUT standing text,    -- new: begin it; sent: here is its receipt; unknown: begun before, end unknown;
                          -- over_limit: the run has done p_most of them
    OUT receipt jsonb
)
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_found worker.node_effects;
BEGIN
    -- Counting and adding take turns within a run.
    PERFORM pg_advisory_xact_lock(hashtext('worker.node_effects'), hashtext(p_run_id::text));
    SELECT * INTO v_found FROM worker.node_effects e
    WHERE e.run_id = p_run_id AND e.node_id = p_node_id AND e.effect = p_effect;
    IF FOUND THEN
        standing := CASE WHEN v_found.sent_at IS NULL THEN 'unknown' ELSE 'sent' END;
        receipt := v_found.receipt;
    ELSIF p_most IS NOT NULL AND p_most <= (
            SELECT count(*) FROM worker.node_effects e WHERE e.run_id = p_run_id AND e.effect = p_effect) THEN
        standing := 'over_limit';
    ELSE
        INSERT INTO worker.node_effects (run_id, node_id, effect) VALUES (p_run_id, p_node_id, p_effect);
        standing := 'new';
    END IF;
END $$;

REVOKE ALL ON worker.node_effects FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
