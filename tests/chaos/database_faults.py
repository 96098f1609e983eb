"""What is done to the database from within: by its administrator, its disk or the one that takes over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.sql import SQL, Identifier

#: Endings write these after they have written their claim.
RESULT_TABLES = ("execution.runs", "battles.submissions")
#: How long endings are waited for at each of them.
AMBUSH_SECONDS = 5.0
LOOK_SECONDS = 0.02

#: A job's session whose transaction has ended its claim and waits to write the result.
_ENDINGS = """
    SELECT a.pid FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.application_name = 'lf-worker jobs'
      AND a.backend_xid IS NOT NULL AND a.wait_event_type = 'Lock'
      AND pg_backend_pid() = ANY (pg_blocking_pids(a.pid))
      AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted AND l.mode = 'RowExclusiveLock'
                                           AND l.relation = 'worker.claims'::regclass)
      AND a.query NOT LIKE '%open_claim%'
"""
_END_SESSIONS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'lf-worker%'
"""
_OPENED_SINCE = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'lf-worker%%'
      AND backend_start > to_timestamp(%s)
"""


def kill_endings(dsn: str) -> int:
    """End sessions between the end of a claim and the writing of its result; how many there were.

    A lock on the result's table makes them wait there, where they would be for a millisecond otherwise.
    """
    return sum(_kill_at(dsn, table) for table in RESULT_TABLES)


def _kill_at(dsn: str, table: str) -> int:
    killed: set[int] = set()
    with closing(psycopg2.connect(dsn)) as session, session.cursor() as row:
        row.execute(SQL("LOCK TABLE {} IN SHARE MODE").format(Identifier(*table.split("."))))
        until = time.monotonic() + AMBUSH_SECONDS
        while time.monotonic() < until and not killed:
            time.sleep(LOOK_SECONDS)
            row.execute("SELECT pg_stat_clear_snapshot()")
            row.execute(_ENDINGS)
            for (pid,) in row.fetchall():
                row.execute("SELECT pg_terminate_backend(%s)", (pid,))
                killed.add(pid)
    return len(killed)


@contextmanager
def setting(dsn: str, name: str, value: str) -> Iterator[Connection]:
    """Have all sessions begin with a setting during the block, those of the workers at once."""
    with closing(psycopg2.connect(dsn)) as session:
        session.autocommit = True
        database = Identifier(session.info.dbname)
        with session.cursor() as row:
            row.execute(SQL("ALTER DATABASE {} SET {} = %s").format(database, Identifier(name)), (value,))
            row.execute(_END_SESSIONS)
            try:
                yield session
            finally:
                row.execute(SQL("ALTER DATABASE {} RESET {}").format(database, Identifier(name)))


def sessions_opened_since(session: Connection, began_at: float) -> set[int]:
    """The process ids of the workers' sessions that began after that Unix time."""
    with session.cursor() as row:
        row.execute(_OPENED_SINCE, (began_at,))
        return {pid for (pid,) in row.fetchall()}
