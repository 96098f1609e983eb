"""Sessions for commands that look at a migrated database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import connection
from psycopg2.extras import RealDictCursor

from app.cli.enqueue import find_dsn
from app.database import connect
from app.errors import DatabaseError


@contextmanager
def worker_session() -> Iterator[connection]:
    """A session like a worker's on DATABASE_URL, or on the database of this folder's `lf-worker dev`."""
    try:
        session = connect(find_dsn(), "lf-worker command")
    except psycopg2.OperationalError as error:
        raise DatabaseError(f"can't connect to the database: {_first_line(error)}") from None
    with closing(session):
        try:
            yield session
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedFunction):
            raise DatabaseError("the worker's schema is missing or old; run `lf-worker migrate`") from None
        except psycopg2.Error as error:
            raise DatabaseError(f"the database refused: {_first_line(error)}") from None


def fetch(session: connection, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
    """The rows of a statement as dicts."""
    with session.cursor(cursor_factory=RealDictCursor) as row:
        row.execute(statement, parameters)
        return [dict(found) for found in row.fetchall()] if row.description else []


def _first_line(error: psycopg2.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
