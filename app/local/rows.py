"""Rows of a reference platform, written column by column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json, register_uuid
from psycopg2.sql import SQL, Identifier, Placeholder

register_uuid()


def as_json(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns with lists and objects as JSON."""
    return {name: Json(value) if isinstance(value, dict | list) else value for name, value in columns.items()}


def insert(tx: cursor, table: str, **columns: Any) -> UUID:
    """Insert a row and return its id."""
    statement = SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        Identifier(*table.split(".")),
        SQL(", ").join(map(Identifier, columns)),
        SQL(", ").join(map(Placeholder, columns)),
    )
    tx.execute(statement, columns)
    row: tuple[UUID] | None = tx.fetchone()
    assert row is not None, "an insert returns its row"
    return row[0]
