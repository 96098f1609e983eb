"""The reference platform that work is put into: the running `lf-worker dev` by default."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import connection

from app.cli.sessions import find_dsn, first_line
from app.errors import DatabaseError, SettingsError

#: How long `--wait` waits for the work to end.
WAIT_SECONDS = 300.0
POLL_SECONDS = 0.1


@contextmanager
def reference_platform() -> Iterator[connection]:
    """A session on DATABASE_URL, or else on the database of the `lf-worker dev` of this folder."""
    try:
        session = psycopg2.connect(find_dsn(), application_name="lf-worker enqueue", connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise DatabaseError(f"can't connect to the database: {first_line(error)}") from None
    with closing(session):
        try:
            yield session
        except psycopg2.errors.UndefinedTable:
            raise DatabaseError("the database has no reference platform: start `lf-worker dev`") from None
        except psycopg2.Error as error:
            raise DatabaseError(f"the database refused: {first_line(error)}") from None


def check_models(session: connection, models: Sequence[str]) -> None:
    """Raise `SettingsError` for the first key that no model has."""
    with session.cursor() as row:
        row.execute("SELECT m FROM unnest(%s) AS m EXCEPT SELECT key FROM ai.models", (list(models),))
        if unknown := [model for (model,) in row.fetchall()]:
            raise SettingsError(f"there is no model {unknown[0]!r} in ai.models")
