-- Cancelling single jobs by hand: each kind's row ends as the platform would end it, and whatever a worker
-- still finds out is refused, because its claim has ended.

ALTER TABLE worker.kinds
    -- a query that cancels the job $1; gives the status it was in, with a refusal where that has no cancelling,
    -- or no row where the kind has no such job
    ADD COLUMN cancel text;

CREATE FUNCTION worker.fn_cancel_lens_run(p_run_id uuid) RETURNS TABLE (was text, refusal text)
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_run execution.runs;
BEGIN
    SELECT * INTO v_run FROM execution.runs r WHERE r.id = p_run_id FOR UPDATE;
    IF v_run.id IS NULL THEN
        RETURN;
    ELSIF v_run.status NOT IN ('queued', 'running') THEN
        RETURN QUERY SELECT v_run.status, 'the run has ended';
        RETURN;
    END IF;
    PERFORM fn_worker_complete_execution_run(
        p_run_id => p_run_id, p_status => 'canceled', p_billing_status => v_run.billing_status,
        p_error_code => 'worker.cancelled', p_error_message => 'cancelled by an operator');
    PERFORM worker.note_run_cost(p_run_id);
    PERFORM worker.fn_abandon_media_tasks('lens_run', p_run_id);
    RETURN QUERY SELECT v_run.status, NULL::text;
END $$;

-- A job that is cancelled has failed, as in the platform's emergency stop; its battle's last one opens voting.
CREATE FUNCTION worker.fn_cancel_battle_job(p_job_id uuid) RETURNS TABLE (was text, refusal text)
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_status text;
BEGIN
    -- The battle before the job, as everywhere.
    PERFORM FROM battles.battles b JOIN battles.battle_execution_jobs j ON j.battle_id = b.id
    WHERE j.id = p_job_id FOR NO KEY UPDATE OF b;
    SELECT j.status INTO v_status FROM battles.battle_execution_jobs j WHERE j.id = p_job_id FOR UPDATE;
    IF v_status IS NULL THEN
        RETURN;
    ELSIF v_status NOT IN ('queued', 'claimed', 'running') THEN
        RETURN QUERY SELECT v_status, 'the job has ended';
        RETURN;
    END IF;
    PERFORM fn_worker_complete_battle_job(
        p_job_id, 'failed', NULL, 'worker.cancelled: cancelled by an operator');
    PERFORM worker.fn_abandon_media_tasks('battle_job', p_job_id);
    RETURN QUERY SELECT v_status, NULL::text;
END $$;

-- Nobody waits for these media any more. An order of unknown fate is left to the sweep, which keeps account.
CREATE FUNCTION worker.fn_abandon_media_tasks(p_owner_kind text, p_job uuid) RETURNS void
LANGUAGE sql SET search_path = '' AS $$
    UPDATE worker.media_tasks t SET state = 'abandoned', ended_at = now()
    WHERE t.owner_kind = p_owner_kind AND t.job = p_job AND t.state IN ('started', 'polling')
$$;

CREATE FUNCTION worker.fn_cancel_media_task(p_task uuid) RETURNS TABLE (was text, refusal text)
LANGUAGE sql STABLE SET search_path = '' AS $$
    SELECT t.state, format('it makes the medium of %s %s: cancel that', t.owner_kind, t.job)
    FROM worker.media_tasks t WHERE t.id = p_task
$$;

-- Cancel a run that has not ended, tell its followers, and end its nodes.
CREATE FUNCTION worker.fn_end_as_cancelled(p_run_id uuid) RETURNS void
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_events jsonb[] := ARRAY[
        '{"type": "run.cancelled", "payload": {"status": "cancelled", "lifecycle": "cancelled"}}',
        '{"type": "run.status.changed", "payload": {"status": "cancelled", "lifecycle": "cancelled"}}'];
BEGIN
    IF NOT worker.finish_workflow_run(p_run_id, 'cancelled', NULL, v_events) THEN
        PERFORM fn_worker_set_workflow_run_status(p_run_id, 'cancelled');
        PERFORM worker.fn_close_run(p_run_id, 'cancelled');
    END IF;
END $$;

CREATE FUNCTION worker.fn_cancel_workflow_run(p_run_id uuid) RETURNS TABLE (was text, refusal text)
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_status text;
    v_team_run uuid;
BEGIN
    SELECT r.status INTO v_status FROM lenses.workflow_runs r WHERE r.id = p_run_id FOR NO KEY UPDATE;
    SELECT t.id INTO v_team_run FROM agents.team_runs t
    WHERE t.workflow_run_id = p_run_id AND t.status IN ('queued', 'running', 'blocked') LIMIT 1;
    IF v_status IS NULL THEN
        RETURN;
    ELSIF v_status NOT IN ('queued', 'pending', 'pending_approval', 'running', 'streaming', 'recovered') THEN
        RETURN QUERY SELECT v_status, CASE WHEN v_status IN ('draft', 'validated') THEN 'the run was never started'
                                           ELSE 'the run has ended' END;
        RETURN;
    ELSIF v_team_run IS NOT NULL THEN
        RETURN QUERY SELECT v_status, format('it belongs to the team run %s: cancel that', v_team_run);
        RETURN;
    END IF;
    PERFORM worker.fn_end_as_cancelled(p_run_id);
    RETURN QUERY SELECT v_status, NULL::text;
END $$;

-- The platform's own function for this wants a session of the agent's owner.
CREATE FUNCTION worker.fn_cancel_team_run(p_team_run_id uuid) RETURNS TABLE (was text, refusal text)
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_team_run agents.team_runs;
BEGIN
    SELECT * INTO v_team_run FROM agents.team_runs t WHERE t.id = p_team_run_id FOR NO KEY UPDATE;
    IF v_team_run.id IS NULL THEN
        RETURN;
    ELSIF v_team_run.status NOT IN ('queued', 'running', 'blocked') THEN
        RETURN QUERY SELECT v_team_run.status, 'the run has ended';
        RETURN;
    END IF;
    PERFORM fn_worker_finalize_team_run(p_team_run_id, 'cancelled', 'worker.cancelled: cancelled by an operator');
    PERFORM worker.fn_end_as_cancelled(r.id) FROM lenses.workflow_runs r
    WHERE r.id = v_team_run.workflow_run_id
      AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out');
    RETURN QUERY SELECT v_team_run.status, NULL::text;
END $$;

-- A request that is on the wire can't be called back; what its receiver answers changes nothing any more.
CREATE FUNCTION worker.fn_cancel_webhook(p_outbox_id uuid) RETURNS TABLE (was text, refusal text)
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_row audit.webhook_outbox;
    v_state text;
BEGIN
    -- The host before a row that waits, as those do who claim one.
    PERFORM worker.lock_webhook_host(d.host) FROM worker.webhook_deliveries d
    WHERE d.outbox_id = p_outbox_id AND d.state = 'waiting';
    SELECT * INTO v_row FROM audit.webhook_outbox o WHERE o.id = p_outbox_id FOR UPDATE;
    SELECT d.state INTO v_state FROM worker.webhook_deliveries d WHERE d.outbox_id = p_outbox_id;
    IF v_row.id IS NULL THEN
        RETURN;
    ELSIF v_row.delivered_at IS NOT NULL OR v_row.dead_lettered_at IS NOT NULL THEN
        RETURN QUERY SELECT CASE WHEN v_row.delivered_at IS NULL THEN 'dead' ELSE 'delivered' END,
                            'the delivery has ended';
        RETURN;
    END IF;
    PERFORM worker.settle_webhook(p_outbox_id, 'dead', 'worker.cancelled: cancelled by an operator', NULL);
    RETURN QUERY SELECT coalesce(v_state, 'waiting'), NULL::text;
END $$;

UPDATE worker.kinds k SET cancel = 'SELECT was, refusal FROM worker.' || c.cancel || '($1)'
FROM (VALUES ('lens_run', 'fn_cancel_lens_run'), ('battle_job', 'fn_cancel_battle_job'),
             ('media_poll', 'fn_cancel_media_task'), ('workflow_run', 'fn_cancel_workflow_run'),
             ('team_run', 'fn_cancel_team_run'), ('webhook_delivery', 'fn_cancel_webhook')) AS c (kind, cancel)
WHERE k.kind = c.kind;

-- Cancel the job with this id, of whichever kind, and write down who did and why. Gives the job's kind, the
-- status it was in, why it can't be cancelled, if so, and whether a worker was at it; no row for an unknown id.
CREATE FUNCTION worker.cancel_job(p_job uuid, p_operator text, p_note text)
RETURNS TABLE (kind text, was text, refusal text, was_at_work boolean)
LANGUAGE plpgsql SET search_path = worker, public AS $$
DECLARE
    v_kind worker.kinds;
    v_was text;
    v_refusal text;
    v_at_work boolean;
BEGIN
    -- The claim before the row, in the order of those who finish a job.
    PERFORM FROM worker.claims c WHERE c.job = p_job AND c.state <> 'finished' FOR UPDATE;
    FOR v_kind IN SELECT * FROM worker.kinds k WHERE k.cancel IS NOT NULL ORDER BY k.kind LOOP
        EXECUTE v_kind.cancel INTO v_was, v_refusal USING p_job;
        CONTINUE WHEN v_was IS NULL;
        IF v_refusal IS NULL THEN
            v_at_work := worker.fn_end_cancelled_claim(v_kind, p_job);
            INSERT INTO worker.audit_log (operator, action, kind, job, note)
            VALUES (p_operator, 'cancel', v_kind.kind, p_job, p_note);
        END IF;
        RETURN QUERY SELECT v_kind.kind, v_was, v_refusal, coalesce(v_at_work, false);
        RETURN;
    END LOOP;
END $$;

-- End the open claim of a job that was cancelled, take its waiting messages away, and say whether an attempt
-- was at work.
CREATE FUNCTION worker.fn_end_cancelled_claim(p_kind worker.kinds, p_job uuid) RETURNS boolean
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    v_claim worker.claims;
BEGIN
    SELECT * INTO v_claim FROM worker.claims c
    WHERE c.kind = p_kind.kind AND c.job = p_job AND c.finished_at IS NULL FOR UPDATE;
    UPDATE worker.claims c
    SET state = 'finished', finished_at = now(), outcome = 'gone', error_code = 'worker.cancelled',
        error_message = 'cancelled by an operator'
    WHERE c.message_id = v_claim.message_id;
    DELETE FROM dramatiq.queue q
    WHERE q.queue_name = p_kind.queue AND q.state = 'queued'
      AND (q.message_id = v_claim.message_id OR q.message #>> '{kwargs,job}' = p_job::text);
    RETURN coalesce(v_claim.state = 'running', false);
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA worker FROM PUBLIC;
