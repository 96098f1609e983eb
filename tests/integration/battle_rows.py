"""Battles in a test: two contenders on the local provider, and how their rows look afterwards."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from app.local.battles import Contender, enqueue_battle
from tests.sql import call
from tests.waiting import eventually

GPT = Contender("gpt-4o")
MINI = Contender("gpt-5.4-mini")

#: Workers don't look at a job again that ended in one of these.
JOBS = """
    SELECT j.*, s.content_text, s.status AS submission, s.metadata, s.output_modality, s.submitted_at
    FROM battles.battle_execution_jobs j
    LEFT JOIN battles.submissions s ON s.contender_id = j.contender_id
    WHERE j.battle_id = %s ORDER BY j.slot
"""


def queue_battle(connection: Connection, *contenders: Contender, **columns: Any) -> UUID:
    """A started battle; between two ordinary contenders where none are given."""
    columns = {"task_prompt": "Praise the sea", **columns}
    return enqueue_battle(connection, *(contenders or (GPT, MINI)), **columns)


def jobs_of(connection: Connection, battle: UUID) -> list[dict[str, Any]]:
    """The battle's jobs by slot, each with the submission it came to."""
    with connection.cursor(cursor_factory=RealDictCursor) as rows:
        rows.execute(JOBS, (battle,))
        return [dict(row) for row in rows.fetchall()]


def status_of(connection: Connection, battle: UUID) -> str:
    return str(call(connection, "SELECT status FROM battles.battles WHERE id = %s", battle))


def ended_jobs(connection: Connection, battle: UUID) -> list[dict[str, Any]]:
    """The battle's jobs, once all have ended and no claim is open."""

    def look() -> list[dict[str, Any]]:
        jobs = jobs_of(connection, battle)
        ended = all(job["status"] in {"completed", "failed"} for job in jobs)
        open_claims = call(connection, "SELECT count(*) FROM worker.claims WHERE finished_at IS NULL")
        return jobs if ended and not open_claims else []

    return eventually(look, what="the end of every job")


def dead_letters(connection: Connection, battle: UUID) -> dict[str, str]:
    """The codes of the battle's dead letters, by slot."""
    with connection.cursor() as rows:
        rows.execute(
            "SELECT slot, error_code FROM battles.battle_execution_dead_letters WHERE battle_id = %s",
            (battle,),
        )
        return dict(rows.fetchall())
