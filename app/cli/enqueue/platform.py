"""The reference platform that work is put into: the running `lf-worker dev` by default."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from uuid import UUID

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


def print_ends(session: connection, statement: str, ids: Sequence[UUID]) -> bool:
    """Print a line for each job as it ends, and say whether all ended well.

    Given ids as an array, the statement finds those that have ended: their id, whether they ended well, and
    the line. Raises `DatabaseError` when some have not ended in time.
    """
    waiting, all_ended_well = {str(job) for job in ids}, True
    deadline = time.monotonic() + WAIT_SECONDS
    session.autocommit = True
    while waiting:
        with session.cursor() as row:
            row.execute(statement, (list(waiting),))
            for job, ended_well, line in row.fetchall():
                waiting.remove(str(job))
                all_ended_well &= ended_well
                print(line)
        if waiting and time.monotonic() >= deadline:
            raise DatabaseError(f"{len(waiting)} jobs did not end within {WAIT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    return all_ended_well
