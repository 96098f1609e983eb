"""Rows that webhooks come from, and what became of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import Json, RealDictCursor

from tests.sql import call
from tests.waiting import eventually


def add_row(
    connection: Connection, url: str, payload: object = None, *, event_type: str = "moderation_flagged"
) -> UUID:
    return call(
        connection,
        "INSERT INTO audit.webhook_outbox (event_type, payload, target_url) VALUES (%s, %s, %s) RETURNING id",
        event_type,
        Json({"hello": "wörld"} if payload is None else payload),
        url,
    )


def add_battle(connection: Connection, *, invite_code: str | None = None) -> UUID:
    """A draft of ada's, who must be seeded."""
    return call(
        connection,
        "INSERT INTO battles.battles (creator_lenser_id, title, slug, task_prompt, invite_code)"
        " SELECT id, 'A battle', %s, 'Say hello', %s FROM lensers.profiles"
        " WHERE handle = 'ada.lovelace' RETURNING id",
        f"battle-{uuid4()}",
        invite_code,
    )


def subscribe(connection: Connection, battle: UUID, url: str, *events: str) -> UUID:
    """Subscribe the way our sessions do: through the shadow."""
    return call(
        connection,
        "SELECT fn_battles_subscribe_webhook(%s, %s, %s)",
        battle,
        url,
        list(events or ("status_change",)),
    )


def change_status(connection: Connection, battle: UUID, status: str) -> None:
    execute(connection, "UPDATE battles.battles SET status = %s WHERE id = %s", status, battle)


def execute(connection: Connection, statement: str, *parameters: Any) -> int:
    with connection.cursor() as row:
        row.execute(statement, parameters)
        return row.rowcount


def find(connection: Connection, webhook: UUID) -> dict[str, Any]:
    with connection.cursor(cursor_factory=RealDictCursor) as row:
        row.execute("SELECT * FROM worker.webhook_outbox WHERE id = %s", (webhook,))
        return dict(row.fetchone())


def attempts(connection: Connection, webhook: UUID) -> list[dict[str, Any]]:
    with connection.cursor(cursor_factory=RealDictCursor) as row:
        row.execute("SELECT * FROM worker.webhook_attempts WHERE outbox_id = %s ORDER BY number", (webhook,))
        return [dict(found) for found in row.fetchall()]


def ended(connection: Connection, webhook: UUID) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = find(connection, webhook)
        return found if found["delivered_at"] or found["dead_lettered_at"] else None

    return eventually(look, what=f"the end of webhook {webhook}")
