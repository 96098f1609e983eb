"""Values that a workflow keeps from run to run, under keys, each until it expires.

The platform's table takes letters, digits and `_ - .` in a key. Workflows use `:` and `/` as well, as in
`digest:last`. These are stored as `..c` and `..s`, and `..` as `..d`, so that no two keys share a row. Every
other key is stored as it is.
"""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from psycopg2.extras import Json
from pydantic import JsonValue

from app.database import Database
from app.platform.json_values import storable

#: Longest key, as it is stored.
LONGEST_KEY_CHARS = 256

_STORED = {":": "..c", "/": "..s", "..": "..d"}


def stored_key(key: str) -> str:
    """A key as the platform's table has it."""
    return re.sub(r"\.\.|[:/]", lambda found: _STORED[found[0]], key)


def write_value(
    database: Database, workflow_id: UUID, run_id: UUID, key: str, value: JsonValue, *, ttl_ms: int
) -> datetime:
    """Keep a value in the place of an earlier one, and tell when it expires."""
    rows = database.call(
        "SELECT worker.write_workflow_value(%s, %s, %s, %s, %s) AS expires_at",
        (workflow_id, run_id, stored_key(key), Json(storable(value)), ttl_ms),
    )
    expires_at: datetime = rows[0]["expires_at"]
    return expires_at


def read_value(database: Database, workflow_id: UUID, key: str) -> tuple[bool, JsonValue]:
    """Whether there is a value that hasn't expired, and what it is."""
    rows = database.call(
        "SELECT * FROM worker.fn_read_workflow_value(%s, %s)", (workflow_id, stored_key(key))
    )
    return (True, rows[0]["value"]) if rows else (False, None)
