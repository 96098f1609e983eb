"""What tests of workflow and team runs share: claims as a worker opens them, and rows read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import Json, RealDictCursor

from app.claims import Claim, Opened, open_claim
from app.database import Database
from app.platform.workflows import RunHold

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])


def claim(
    database: Database, kind: str = "workflow_run", *, hint: UUID | None = None, message: UUID | None = None
) -> Claim[dict[str, Any]] | None:
    """Open the claim of a message, a new one unless it is given; None where there is nothing to do."""
    _, opened = open_claim(database, message or uuid4(), kind, "tester:1", hint=hint, max_deaths=3)
    return opened


def opened(database: Database, message: UUID, kind: str = "workflow_run") -> Opened:
    return open_claim(database, message, kind, "tester:2", hint=None, max_deaths=3)[0]


def must_claim(
    database: Database, kind: str = "workflow_run", *, hint: UUID | None = None
) -> Claim[dict[str, Any]]:
    found = claim(database, kind, hint=hint)
    assert found is not None, "nothing was claimed"
    return found


def hold_of(claimed: Claim[dict[str, Any]]) -> RunHold:
    run_id = claimed.job.get("run_id") or claimed.job["workflow_run_id"]
    return RunHold(message_id=claimed.message_id, attempt=claimed.attempt, run_id=UUID(run_id))


def rows(session: Connection, statement: str, *parameters: Any) -> list[dict[str, Any]]:
    with session.cursor(cursor_factory=RealDictCursor) as found:
        found.execute(statement, parameters)
        return [dict(row) for row in found.fetchall()] if found.description else []


def run_row(session: Connection, run_id: UUID) -> dict[str, Any]:
    return rows(session, "SELECT * FROM lenses.workflow_runs WHERE id = %s", run_id)[0]


@dataclass(frozen=True)
class Follower:
    """How telling the followers of a run has gone: messages sent, and messages Realtime didn't take."""

    messages: int
    failures: int


def follower_of(database: Database, run_id: UUID) -> Follower:
    found = database.call("SELECT messages, failures FROM worker.run_channels WHERE run_id = %s", (run_id,))
    return Follower(**found[0]) if found else Follower(0, 0)


def team_row(session: Connection, team_run_id: UUID) -> dict[str, Any]:
    return rows(session, "SELECT * FROM agents.team_runs WHERE id = %s", team_run_id)[0]


def node_statuses(session: Connection, run_id: UUID) -> dict[UUID, str]:
    found = rows(
        session, "SELECT node_id, status FROM lenses.workflow_node_results WHERE run_id = %s", run_id
    )
    return {row["node_id"]: row["status"] for row in found}


def update(session: Connection, table: str, row_id: UUID, **columns: Any) -> None:
    """Set columns of one row; the names are the test's own."""
    assignments = ", ".join(f"{name} = %s" for name in columns)
    values = [Json(value) if isinstance(value, dict | list) else value for value in columns.values()]
    rows(session, f"UPDATE {table} SET {assignments} WHERE id = %s", *values, row_id)


def wake_run(session: Connection, run_id: UUID, node_id: UUID | None = None) -> bool:
    """Give a run's nodes, or one, their turn that wait for other work; False when it isn't put down."""
    return bool(
        rows(session, "SELECT worker.wake_workflow_run(%s, %s) AS woken", run_id, node_id)[0]["woken"]
    )


def age(session: Connection, run_id: UUID, interval: str = "10 minutes") -> None:
    """Let a run's heartbeat stop that long ago."""
    rows(
        session,
        "UPDATE lenses.workflow_runs SET heartbeat_at = now() - %s::interval WHERE id = %s",
        interval,
        run_id,
    )


def tickets(session: Connection, actor: str) -> int:
    found = rows(
        session, "SELECT count(*) AS n FROM dramatiq.queue WHERE message ->> 'actor_name' = %s", actor
    )
    return int(found[0]["n"])
