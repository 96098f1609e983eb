"""Battle jobs in the demo: start every battle, and check how each contender and the battle ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.battle_cases import TASK, BattleCase, battle_cases
from app.cli.demo.scenario import Tally
from app.local.battles import enqueue_battles
from app.local.provider_server import ProviderServer

#: What the demo's processes need in their environment, since battle jobs are off by default.
BATTLE_ENVIRONMENT = {
    "PLATFORM_API_BATTLE_WORKER_ENABLED": "true",
    "BATTLE_AUTO_PROMOTE_INTERVAL_MS": "60000",
}

_FIND_JOBS = """
    SELECT j.battle_id::text, j.slot, j.status, j.retry_count, b.status::text, s.content_text,
           (SELECT d.error_code FROM battles.battle_execution_dead_letters d WHERE d.job_id = j.id),
           (SELECT EXTRACT(epoch FROM min(c.first_claimed_at) - j.created_at)::float * 1000
            FROM worker.claims c WHERE c.kind = 'battle_job' AND c.job = j.id)
    FROM battles.battle_execution_jobs j
    JOIN battles.battles b ON b.id = j.battle_id
    LEFT JOIN battles.submissions s ON s.contender_id = j.contender_id
    WHERE j.battle_id = ANY (%s::uuid[])
"""


class Job(NamedTuple):
    """A job as the database has it; `pickup_ms` is the time from its creation to its first claim."""

    battle_id: str
    slot: str
    status: str
    retry_count: int
    battle_status: str
    answer: str | None
    error_code: str | None
    pickup_ms: float | None


class Battles:
    """Every case of a battle of texts, on the provider modules that production uses."""

    kind = "battle_job"
    title = "Battles"
    story = "Two contenders answer one task; once both have ended, the vote opens."

    def __init__(self) -> None:
        self._cases = list(battle_cases())

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Start every case's battles, the way the platform's cron does."""
        for case in self._cases:
            providers.script(case.contender.model, case.mishaps)
            case.battle_ids.extend(
                enqueue_battles(session, case.count, case.contender, case.opponent, task_prompt=TASK)
            )

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each case's jobs are; one that ended is checked in everything it should have left."""
        ids = [str(battle) for case in self._cases for battle in case.battle_ids]
        with session.cursor() as rows:
            rows.execute(_FIND_JOBS, (ids,))
            jobs = [Job._make(row) for row in rows.fetchall()]
        return [
            _tally(case, [job for job in jobs if UUID(job.battle_id) in case.battle_ids])
            for case in self._cases
        ]


def _tally(case: BattleCase, jobs: Sequence[Job]) -> Tally:
    statuses = [job.status for job in jobs]
    missing = 2 * case.count - len(jobs)
    return Tally(
        label=case.label,
        outcome=f"gives up: {case.error_code}" if case.error_code else "both answered, vote open",
        queued=statuses.count("queued") + missing,
        running=statuses.count("claimed"),
        succeeded=statuses.count("completed"),
        failed=statuses.count("failed"),
        surprises=tuple(line for job in jobs if (line := _surprise(case, job, jobs))),
        pickups_ms=tuple(job.pickup_ms for job in jobs if job.pickup_ms is not None),
    )


def _surprise(case: BattleCase, job: Job, jobs: Sequence[Job]) -> str | None:
    """How an ended job, or its battle, differs from what it should be, or None."""
    if job.status not in {"completed", "failed"}:
        return None
    error_code = case.error_code if job.slot == "A" else None
    if job.error_code != error_code:
        return f"{job.slot} ended with {job.error_code} instead of {error_code}"
    asked = case.asked if job.slot == "A" else TASK
    if error_code is None and not (job.answer or "").endswith(f"says: {asked}"):
        return f"{job.slot} answered {job.answer!r} instead of … says: {asked!r}"
    if error_code is None and job.retry_count != (len(case.mishaps) if job.slot == "A" else 0):
        return f"{job.slot} was tried again {job.retry_count} times"
    siblings = [other.status for other in jobs if other.battle_id == job.battle_id]
    if set(siblings) <= {"completed", "failed"} and job.battle_status != "voting":
        return f"both contenders are done, and the battle is {job.battle_status}"
    return None
