"""Sessions for commands that look at a migrated database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import connection
from psycopg2.extras import RealDictCursor

from app.cli.folders import DATA_FOLDER
from app.errors import DatabaseAway, DatabaseError, SettingsError
from app.local.cluster_state import running_state
from app.outages import passes
from app.sessions import connect
from app.settings import load_settings


@contextmanager
def worker_session() -> Iterator[connection]:
    """A session like a worker's on DATABASE_URL, or on the database of this folder's `lf-worker dev`.

    Raises `DatabaseAway` for what passes by itself, and `DatabaseError` for what doesn't.
    """
    try:
        session = connect(find_dsn(), "lf-worker command")
    except DatabaseAway as error:
        raise DatabaseAway(f"can't connect to the database: {error}") from None
    with closing(session):
        try:
            yield session
        except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedFunction):
            raise DatabaseError("the worker's schema is missing or old; run `lf-worker migrate`") from None
        except psycopg2.Error as error:
            refused = f"the database refused: {first_line(error)}"
            raise (DatabaseAway if passes(error) else DatabaseError)(refused) from None


def find_dsn() -> str:
    """DATABASE_URL, or else the database of the `lf-worker dev` of this folder."""
    try:
        return load_settings().database_url.get_secret_value()
    except SettingsError as error:
        state = running_state(DATA_FOLDER.absolute())
        if state is None:
            raise SettingsError(f"{error}; and no `lf-worker dev` runs in this folder") from None
        return load_settings(DATABASE_URL=state.dsn).database_url.get_secret_value()


def fetch(session: connection, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
    """The rows of a statement as dicts."""
    with session.cursor(cursor_factory=RealDictCursor) as row:
        row.execute(statement, parameters)
        return [dict(found) for found in row.fetchall()] if row.description else []


def first_line(error: psycopg2.Error) -> str:
    """What the database says is wrong, without its hints."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
