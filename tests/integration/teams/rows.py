"""What a team run has left in the platform's tables, read back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.provider_server import Call, ProviderServer
from tests.integration.workflow_rows import rows, team_row
from tests.waiting import eventually

ENDED = ("completed", "failed", "cancelled", "blocked")


def ended(connection: Connection, team_run: UUID) -> dict[str, Any]:
    """The row of a run, once it has ended or is blocked."""
    row: dict[str, Any] = {}

    def look() -> bool:
        row.update(team_row(connection, team_run))
        return row["status"] in ENDED

    eventually(look, what="the team run's end")
    return row


def steps(connection: Connection, team_run: UUID) -> list[tuple[str, str, str]]:
    """(title, member, status) in the order in which they were begun."""
    found = rows(
        connection,
        "SELECT title, payload ->> 'member' AS member, status FROM agents.agent_run_steps"
        " WHERE team_run_id = %s ORDER BY created_at, lane, title",
        team_run,
    )
    return [(row["title"], row["member"], row["status"]) for row in found]


def messages(connection: Connection, team_run: UUID) -> list[tuple[str, str, str]]:
    """(from, kind, title) in order."""
    found = rows(
        connection,
        "SELECT a.display_name, m.kind, m.payload ->> 'title' AS title FROM agents.team_messages m"
        " JOIN agents.ai_lensers a ON a.id = m.from_agent_id WHERE m.team_run_id = %s ORDER BY m.occurred_at",
        team_run,
    )
    return [(row["display_name"], row["kind"], row["title"]) for row in found]


def events(connection: Connection, team_run: UUID) -> list[str]:
    found = rows(
        connection,
        "SELECT event_type FROM agents.agent_run_events WHERE team_run_id = %s ORDER BY occurred_at",
        team_run,
    )
    return [row["event_type"] for row in found]


def speaker(call: Call) -> str:
    """The member in whose name a model was asked."""
    return (call.system or "").rpartition("You are ")[2].partition(",")[0].rstrip(".")


def speakers(provider: ProviderServer) -> list[str]:
    return [speaker(call) for call in provider.calls]
