"""Values that a workflow keeps from run to run, under keys, each until it expires."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from psycopg2.extras import Json
from pydantic import JsonValue

from app.database import Database
from app.platform.json_values import storable


def write_value(
    database: Database, workflow_id: UUID, run_id: UUID, key: str, value: JsonValue, *, ttl_ms: int
) -> datetime:
    """Keep a value in the place of an earlier one, and tell when it expires."""
    rows = database.call(
        "SELECT worker.write_workflow_value(%s, %s, %s, %s, %s) AS expires_at",
        (workflow_id, run_id, key, Json(storable(value)), ttl_ms),
    )
    expires_at: datetime = rows[0]["expires_at"]
    return expires_at


def read_value(database: Database, workflow_id: UUID, key: str) -> tuple[bool, JsonValue]:
    """Whether there is a value that hasn't expired, and what it is."""
    rows = database.call("SELECT * FROM worker.fn_read_workflow_value(%s, %s)", (workflow_id, key))
    return (True, rows[0]["value"]) if rows else (False, None)
