-- Lens runs: their kind, the triggers that write their tickets, and the queue under its described name.

-- A claimed run in the shape of fn_worker_claim_queued_run, locked, while it is still running; else null.
-- It adds the modality that is asked for: the request's, or else the first that the model can give.
CREATE FUNCTION worker.fn_running_lens_run(p_run_id uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_run jsonb;
BEGIN
    SELECT jsonb_build_object(
        'run_id', r.id, 'request_id', q.id, 'requester_lenser_id', q.requester_lenser_id,
        'workspace_id', q.workspace_id, 'lens_id', q.lens_id, 'version_id', q.version_id,
        'model_id', r.model_id, 'model_key', m.key, 'provider_key', p.key,
        'funding_source', q.funding_source, 'byok_key_ref_id', q.byok_key_ref_id,
        'input_snapshot', q.input_snapshot,
        'output_modality', coalesce(nullif(q.output_modality, 'text'), m.output_modalities[1]))
    INTO v_run
    FROM execution.runs r
    JOIN execution.requests q ON q.id = r.request_id
    LEFT JOIN ai.models m ON m.id = r.model_id
    LEFT JOIN ai.providers p ON p.id = m.provider_id
    WHERE r.id = p_run_id AND r.status IS NOT DISTINCT FROM 'running'
    FOR UPDATE OF r;
    RETURN v_run;
END $$;

-- Claim the run that a ticket was written for, found by its key whatever the length of the queue; without one,
-- whichever run the platform deems next.
CREATE FUNCTION worker.fn_claim_lens_run(p_hint uuid) RETURNS jsonb
LANGUAGE plpgsql SET search_path = worker, public AS $$
BEGIN
    IF p_hint IS NULL THEN
        RETURN worker.fn_running_lens_run((fn_worker_claim_queued_run() ->> 'run_id')::uuid);
    END IF;
    UPDATE execution.runs r SET status = 'running', started_at = coalesce(r.started_at, now())
    WHERE r.id = (
        SELECT w.id FROM execution.runs w JOIN execution.requests q ON q.id = w.request_id
        WHERE w.id = p_hint AND w.status IS NOT DISTINCT FROM 'queued' AND w.is_active AND q.is_active
        FOR UPDATE OF w SKIP LOCKED);
    RETURN CASE WHEN FOUND THEN worker.fn_running_lens_run(p_hint) END;
END $$;

-- The template of a lens version with its parameters, or null. A tool that is required makes its parameter so.
CREATE FUNCTION worker.fn_lens_version(p_version_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT jsonb_build_object(
        'template_body', v.template_body,
        'parameters', coalesce((
            SELECT jsonb_agg(jsonb_build_object('id', p.id, 'label', p.label, 'required', t.required)
                             ORDER BY p.label)
            FROM lenses.version_parameters p JOIN lenses.tools t ON t.id = p.tool_id
            WHERE p.version_id = v.id), '[]'))
    FROM lenses.versions v WHERE v.id = p_version_id
$$;

-- Keys that their provider refused; a person's key is not tried again before the time is up.
CREATE TABLE worker.rejected_keys (
    key_id uuid PRIMARY KEY,
    provider text NOT NULL,
    until timestamptz NOT NULL
);

-- Why a lenser may not use a stored key for a provider, as an error code; null when nothing speaks against it.
-- The platform's own decryption looks at none of this.
CREATE FUNCTION worker.fn_byok_key_problem(p_key_id uuid, p_lenser_id uuid, p_provider_key text) RETURNS text
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT CASE
        WHEN k.id IS NULL OR NOT k.is_active OR k.status = 'revoked' THEN 'key.revoked'
        WHEN k.status = 'expired' OR k.expires_at <= now() THEN 'key.expired'
        WHEN coalesce(k.scope, 'user') = 'user' AND k.lenser_id <> p_lenser_id THEN 'key.not_owned'
        WHEN p.key <> p_provider_key THEN 'key.wrong_provider'
        WHEN EXISTS (SELECT FROM worker.rejected_keys r WHERE r.key_id = k.id AND r.until > now()) THEN 'key.rejected'
    END
    FROM (SELECT p_key_id AS id) AS wanted
    LEFT JOIN ai.keys k ON k.id = wanted.id
    LEFT JOIN ai.providers p ON p.id = k.provider_id
$$;

INSERT INTO worker.kinds (kind, actor, queue, claim_next, is_waiting, reload, id_key, count_claimable, call, replay) VALUES (
    'lens_run', 'execute_lens_run', 'lens_runs',
    'SELECT worker.fn_claim_lens_run($1)',
    'SELECT EXISTS (SELECT FROM execution.runs r JOIN execution.requests q ON q.id = r.request_id
                    WHERE r.id = $1 AND r.status IS NOT DISTINCT FROM ''queued'' AND r.is_active AND q.is_active)',
    'SELECT worker.fn_running_lens_run($1)',
    'run_id',
    'SELECT count(*) FROM execution.runs r JOIN execution.requests q ON q.id = r.request_id
     WHERE r.status = ''queued'' AND r.is_active AND q.is_active',
    'SELECT p.key AS provider, m.key AS model, coalesce(q.byok_key_ref_id::text, ''platform'') AS key,
            q.requester_lenser_id::text AS owner
     FROM execution.runs r JOIN execution.requests q ON q.id = r.request_id
     JOIN ai.models m ON m.id = r.model_id JOIN ai.providers p ON p.id = m.provider_id
     WHERE r.id = $1 AND r.status IN (''queued'', ''running'')',
    'UPDATE execution.runs r SET status = ''queued'', started_at = NULL, completed_at = NULL,
            error_code = NULL, error_message = NULL
     WHERE r.id = $1 AND r.status = ''failed'' AND r.is_active RETURNING true');

-- The platform's own statement must never fail because of us, hence the catch-all: a lost ticket is found
-- by the sweep within a minute.
CREATE FUNCTION worker.fn_ticket_inserted_runs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.write_tickets('lens_run', array_agg(i.id ORDER BY i.created_at),
                                 array_agg(q.requester_lenser_id::text ORDER BY i.created_at))
    FROM inserted i LEFT JOIN execution.requests q ON q.id = i.request_id WHERE i.status = 'queued';
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no ticket for queued runs: %', SQLERRM;
    RETURN NULL;
END $$;

CREATE FUNCTION worker.fn_ticket_requeued_run() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    PERFORM worker.write_tickets('lens_run', ARRAY[NEW.id]);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'lf-worker: no ticket for requeued run: %', SQLERRM;
    RETURN NULL;
END $$;

CREATE TRIGGER lf_worker_ticket_inserted_runs AFTER INSERT ON execution.runs
    REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION worker.fn_ticket_inserted_runs();

CREATE TRIGGER lf_worker_ticket_requeued_run AFTER UPDATE OF status ON execution.runs
    FOR EACH ROW WHEN (NEW.status = 'queued' AND OLD.status IS DISTINCT FROM 'queued')
    EXECUTE FUNCTION worker.fn_ticket_requeued_run();

CREATE VIEW worker.queued_runs AS
    SELECT r.id, r.request_id, r.model_id, r.created_at, q.requester_lenser_id, q.lens_id, q.version_id,
           q.funding_source
    FROM execution.runs r JOIN execution.requests q ON q.id = r.request_id
    WHERE r.status = 'queued' AND r.is_active AND q.is_active;
COMMENT ON VIEW worker.queued_runs IS 'Lens runs that wait for a worker; the product calls it execution.queued_runs.';

CREATE VIEW worker.dead_letters AS
    SELECT c.kind, c.job, c.message_id, c.outcome, c.error_code, c.error_message, c.attempt, c.errors, c.deaths,
           c.finished_at
    FROM worker.claims c WHERE c.outcome IN ('failed', 'poison') AND c.settled_at IS NULL;
COMMENT ON VIEW worker.dead_letters IS 'Jobs that failed for good, of every kind, with their reason, until somebody replays or discards them.';

-- Nothing here is for the platform's users; triggers reach it through their definer.
REVOKE ALL ON ALL TABLES IN SCHEMA worker, dramatiq FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker, dramatiq FROM PUBLIC;
