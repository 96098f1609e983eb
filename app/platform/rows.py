"""Reading rows of a statement that gives exactly one."""

from __future__ import annotations

from typing import Any

from psycopg2.extensions import cursor


def only_row(tx: cursor) -> dict[str, Any]:
    """The row that the statement just run has given, by column."""
    row = tx.fetchone()
    assert row is not None, "the statement always gives a row"
    return dict(row)
