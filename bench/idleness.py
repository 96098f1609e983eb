"""What a database sees of processes that have nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from psycopg2.extensions import cursor

from bench.server import BenchServer, fetch_value, open_session

_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = %s AND backend_type = 'client backend' AND application_name <> 'bench'
"""
_TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"

#: A session that goes idle reports its last transactions up to 10 s late (PostgreSQL's PGSTAT_IDLE_INTERVAL).
SETTLE_SECONDS = 11.0


def connections(server: BenchServer, database: str) -> int:
    """How many sessions others than the benchmark have on a database."""
    return int(fetch_value(server.postgres.dsn, _CONNECTIONS, (database,)))


def transactions_per_second(server: BenchServer, database: str, seconds: float) -> float:
    """Transactions of the processes on a database while nothing is queued.

    Counted from a session on another database, so that the counting is not counted; nor is autovacuum.
    """
    with (
        closing(open_session(server.postgres.dsn)) as session,
        session.cursor() as row,
        _no_autovacuum(row),
    ):
        time.sleep(SETTLE_SECONDS)
        before = _transactions(row, database)
        time.sleep(seconds)
        return (_transactions(row, database) - before) / seconds


def _transactions(row: cursor, database: str) -> int:
    row.execute(_TRANSACTIONS, (database,))
    (count,) = row.fetchone() or (0,)
    return int(count)


@contextmanager
def _no_autovacuum(row: cursor) -> Iterator[None]:
    row.execute("ALTER SYSTEM SET autovacuum = off")
    row.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        row.execute("ALTER SYSTEM RESET autovacuum")
        row.execute("SELECT pg_reload_conf()")
