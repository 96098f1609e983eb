"""Checks of battles that stand still: due ones that can't begin, and ones that can't end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2

from app.cli.doctor.finding import Finding, Level, Patient

#: A sweep looks every minute: what was due for longer doesn't go on by itself.
LATE_MINUTES = 5
#: How many of a sort are named.
MOST_NAMED = 5

_LIMITS = "SET LOCAL statement_timeout = '3s'; SET LOCAL lock_timeout = '200ms'"

_DRAFTS = """
    SELECT p.id, p.title, array_to_string(ARRAY(
        SELECT jsonb_array_elements_text(r.readiness -> 'blockers')), ', ') AS reason
    FROM worker.pending_promotions p
    JOIN battles.battles b ON b.id = p.id
    CROSS JOIN LATERAL (SELECT fn_battles_check_readiness(p.id) AS readiness) r
    WHERE p.is_due AND coalesce(p.not_before, b.created_at) < now() - %s * interval '1 minute'
      AND NOT (r.readiness ->> 'ready')::boolean
    ORDER BY b.created_at LIMIT %s
"""
_UNSTARTED = """
    SELECT b.id, b.title, CASE
        WHEN fn_kill_switch_active('battle', b.id) THEN 'a kill switch is on'
        WHEN 2 > (SELECT count(*) FROM battles.contenders c
                  WHERE c.battle_id = b.id AND c.withdrawn_at IS NULL) THEN 'it has fewer than two contenders'
    END AS reason
    FROM battles.battles b
    WHERE b.status = 'open' AND b.deleted_at IS NULL AND b.battle_type IN ('ai_vs_ai', 'workflow_battle')
      AND b.execution_starts_at < now() - %s * interval '1 minute'
    ORDER BY b.execution_starts_at LIMIT %s
"""
#: What the platform does to start a battle.
_START = """
    UPDATE battles.battles b SET status = 'executing', executing_started_at = now() WHERE b.id = %(battle)s;
    INSERT INTO battles.battle_execution_jobs (battle_id, contender_id, slot)
    SELECT c.battle_id, c.id, c.slot FROM battles.contenders c WHERE c.battle_id = %(battle)s
    ON CONFLICT DO NOTHING
"""
_UNFINISHED = """
    SELECT b.id, b.title, CASE
        WHEN fn_kill_switch_active('battle', b.id) THEN 'a kill switch is on'
        WHEN jobs.count = 0 THEN 'it has no jobs'
        WHEN jobs.ended < jobs.count THEN NULL
        WHEN jobs.unexplained > 0 THEN 'a job of it was cancelled'
        ELSE 'all its jobs have ended, and voting was not opened'
    END AS reason
    FROM battles.battles b
    CROSS JOIN LATERAL (
        SELECT count(*) AS count, count(*) FILTER (WHERE j.status IN ('completed', 'failed')) AS ended,
               count(*) FILTER (WHERE j.status = 'failed' AND NOT EXISTS (
                   SELECT FROM battles.battle_execution_dead_letters d
                   WHERE d.job_id = j.id AND d.resolved_at IS NULL)) AS unexplained,
               max(j.completed_at) AS last_at
        FROM battles.battle_execution_jobs j WHERE j.battle_id = b.id
    ) AS jobs
    WHERE b.status = 'executing' AND b.deleted_at IS NULL
      AND coalesce(jobs.last_at, b.executing_started_at, b.updated_at) < now() - %s * interval '1 minute'
    ORDER BY b.executing_started_at LIMIT %s
"""
_UNDECIDED = """
    SELECT b.id, b.title, CASE
        WHEN b.voting_closes_at IS NULL THEN 'its voting has no end'
        WHEN NOT EXISTS (SELECT FROM worker.due_results d WHERE d.id = b.id)
            THEN 'it waits for the verdict of its AI judge'
    END AS reason
    FROM battles.battles b
    WHERE b.status IN ('voting', 'scoring') AND b.deleted_at IS NULL
      AND coalesce(b.voting_closes_at, b.created_at + interval '1 day') < now() - %s * interval '1 minute'
      AND NOT EXISTS (SELECT FROM worker.held_battles h WHERE h.battle_id = b.id)
    ORDER BY b.voting_closes_at LIMIT %s
"""
_FINISH = """
    UPDATE battles.battles b SET status = 'scoring' WHERE b.id = %(battle)s AND b.status = 'voting';
    SELECT fn_battles_finalize(%(battle)s)
"""
_SCHEDULER = "the minute sweep did not get to it, or the platform refuses"


def check_battles(patient: Patient) -> Iterator[Finding]:
    """Battles that are due begin, and those that are over end."""
    found = [
        *_unable_to_open(patient),
        *_unable_to_start(patient),
        *_unable_to_finish(patient),
        *_unable_to_close(patient),
    ]
    yield from found
    if not found:
        yield Finding("battles", Level.FINE, "none stands still")


def _unable_to_open(patient: Patient) -> Iterator[Finding]:
    for row in patient.rows(_DRAFTS, (LATE_MINUTES, MOST_NAMED)):
        yield _stuck(
            row, "is to open by itself and can't", "have its owner mend that; it opens within a minute then"
        )


def _unable_to_start(patient: Patient) -> Iterator[Finding]:
    for row in patient.rows(_UNSTARTED, (LATE_MINUTES, MOST_NAMED)):
        row["reason"] = row["reason"] or _why_refused(patient, _START, row["id"])
        yield _stuck(
            row, "is due and was not started", "mend that; start `periodiq app.schedules` if it doesn't run"
        )


def _unable_to_finish(patient: Patient) -> Iterator[Finding]:
    for row in patient.rows(_UNFINISHED, (LATE_MINUTES, MOST_NAMED)):
        if row["reason"] is not None:
            yield _stuck(
                row,
                "executes and can't go to the vote",
                "lf-worker jobs show ID tells how its jobs ended; have its owner cancel it, or replay them:"
                " lf-worker dead-letters replay",
            )


def _unable_to_close(patient: Patient) -> Iterator[Finding]:
    for row in patient.rows(_UNDECIDED, (LATE_MINUTES, MOST_NAMED)):
        row["reason"] = row["reason"] or _why_refused(patient, _FINISH, row["id"])
        yield _stuck(row, "can't be closed", "mend that; it is closed within a minute then")


def _why_refused(patient: Patient, statements: str, battle_id: Any) -> str:
    """What the platform says to a step of a battle; it is tried in a transaction that is rolled back."""
    with patient.session.cursor() as tx:
        tx.execute("BEGIN")
        try:
            tx.execute(_LIMITS)
            tx.execute(statements, {"battle": battle_id})
        except psycopg2.Error as error:
            return f"{error.pgcode} {(error.diag.message_primary or str(error)).splitlines()[0]}"
        finally:
            tx.execute("ROLLBACK")
    return _SCHEDULER


def _stuck(row: dict[str, Any], what: str, mend: str) -> Finding:
    return Finding(
        "battles",
        Level.WARNING,
        f"battle {row['id']} ({row['title']}) {what}: {row['reason']}",
        "nobody gets on with it, and those who take part wait",
        mend,
    )
