"""What tests of schedules share: rows read back, and time that has passed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from app.database import Database
from app.platform.schedules import dispatch_due_schedules
from tests.integration.workflow_rows import rows


class InTransaction(Database):
    """One session as a database: within `with session:` its clock stands still."""

    def __init__(self, session: Connection) -> None:
        self._only = session

    def call(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        with self._only.cursor(cursor_factory=RealDictCursor) as row:
            row.execute(statement, parameters)
            return list(row.fetchall())


def schedule_row(connection: Connection, schedule: UUID) -> dict[str, Any]:
    return rows(connection, "SELECT * FROM lenses.workflow_schedules WHERE id = %s", schedule)[0]


def plan_row(connection: Connection, schedule: UUID) -> dict[str, Any]:
    return rows(connection, "SELECT * FROM worker.schedule_plans WHERE schedule_id = %s", schedule)[0]


def runs_of(connection: Connection, schedule: UUID) -> list[dict[str, Any]]:
    return rows(
        connection,
        "SELECT * FROM lenses.workflow_runs WHERE schedule_id = %s ORDER BY scheduled_for",
        schedule,
    )


def let_pass(connection: Connection, schedule: UUID, time: timedelta) -> None:
    """Let everything that is known of a schedule have happened, and been planned, that much earlier."""
    changes = (
        "lenses.workflow_runs SET scheduled_for = scheduled_for - %(time)s,"
        " created_at = created_at - %(time)s WHERE schedule_id = %(id)s",
        "lenses.workflow_schedules SET last_run_at = last_run_at - %(time)s,"
        " created_at = created_at - %(time)s WHERE id = %(id)s",
        "worker.schedule_plans SET next_slot = next_slot - %(time)s WHERE schedule_id = %(id)s",
    )
    with connection.cursor() as row:
        for change in changes:
            row.execute(f"UPDATE {change}", {"time": time, "id": schedule})


def next_minute(connection: Connection, schedule: UUID) -> None:
    """Let the last dispatch have been a minute ago."""
    let_pass(connection, schedule, timedelta(minutes=1))


def now(connection: Connection) -> datetime:
    found: datetime = rows(connection, "SELECT now()")[0]["now"]
    return found


def dispatch(database: Database) -> dict[str, int]:
    return dict(dispatch_due_schedules(database))
