"""Asking a database one thing in a test."""

from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812


def call(session: Connection, statement: str, *parameters: Any) -> Any:
    """The first column of the first row."""
    with session.cursor() as row:
        row.execute(statement, parameters)
        found = row.fetchone()
        return found[0] if found else None


def sqlstate_of(session: Connection, statement: str, *parameters: Any) -> str | None:
    with pytest.raises(psycopg2.Error) as raised:
        call(session, statement, *parameters)
    return raised.value.pgcode
