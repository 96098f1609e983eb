"""Connections to Postgres: a small pool that waits, and sessions set up the way the platform expects.

Every session runs with `search_path = worker, public`, so that a shadow in `worker` wins over the
platform's function of the same name, and with the JWT claims of the service role, which some of the
platform's functions check. Timestamps are always the database's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg2
from psycopg2.extensions import (
    ISOLATION_LEVEL_AUTOCOMMIT,
    TRANSACTION_STATUS_IDLE,
    connection,
    cursor,
)
from psycopg2.extras import RealDictCursor, register_default_jsonb, register_uuid

from app.errors import DatabaseError
from app.settings import settings

#: What a lost connection looks like, from psycopg2's side.
CONNECTION_ERRORS = (psycopg2.OperationalError, psycopg2.InterfaceError)

register_uuid()
register_default_jsonb(globally=True)

_SET_UP_SESSION = """
    SELECT set_config('search_path', 'worker, public', false),
           set_config('request.jwt.claims', '{"role":"service_role"}', false),
           set_config('request.jwt.claim.role', 'service_role', false),
           set_config('TimeZone', 'UTC', false),
           set_config('statement_timeout', %(timeout_ms)s, false),
           set_config('idle_in_transaction_session_timeout', %(timeout_ms)s, false),
           set_config('synchronous_commit', %(synchronous_commit)s, false)
"""


def connect(dsn: str, application_name: str, *, durable: bool = True) -> connection:
    """Open a session in autocommit mode, ready for the platform's functions.

    With `durable=False` commits don't wait for the disk: a crash of the server may undo the last of them.
    """
    opened = psycopg2.connect(
        dsn,
        application_name=application_name,
        connect_timeout=10,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    )
    opened.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    with opened.cursor() as row:
        row.execute(
            _SET_UP_SESSION,
            {
                "timeout_ms": str(settings().database_statement_timeout_ms),
                "synchronous_commit": "on" if durable else "off",
            },
        )
    return opened


class Database:
    """A bounded pool of sessions. A thread that finds none free waits for one instead of failing."""

    def __init__(
        self, dsn: str, *, max_connections: int, wait_seconds: float, application_name: str = "lf-worker jobs"
    ) -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._wait_seconds = wait_seconds
        self._free = threading.Semaphore(max_connections)
        self._idle: list[connection] = []
        self._guard = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[cursor]:
        """Run a block in one transaction; rows come as dicts. Waits while Postgres is away."""
        with self._session() as session:
            session.autocommit = False
            try:
                with session, session.cursor(cursor_factory=RealDictCursor) as tx:
                    yield tx
            finally:
                if not session.closed:
                    session.autocommit = True

    def call(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Run one statement in its own transaction, in one round trip, and return its rows."""
        with self._session() as session, session.cursor(cursor_factory=RealDictCursor) as row:
            row.execute(statement, parameters)
            return list(row.fetchall()) if row.description else []

    def close(self) -> None:
        """Close the idle sessions; those in use are closed when they come back broken or never."""
        with self._guard:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    @contextmanager
    def _session(self) -> Iterator[connection]:
        deadline = time.monotonic() + self._wait_seconds
        if not self._free.acquire(timeout=self._wait_seconds):
            raise DatabaseError(f"no database connection became free within {self._wait_seconds:g} s")
        try:
            session = self._take(deadline)
            try:
                yield session
            finally:
                self._give_back(session)
        finally:
            self._free.release()

    def _take(self, deadline: float) -> connection:
        while True:
            with self._guard:
                session = self._idle.pop() if self._idle else None
            if session is None:
                return self._open(deadline)
            if _is_alive(session):
                return session
            session.close()

    def _open(self, deadline: float) -> connection:
        pause_seconds = 0.05
        while True:
            try:
                return connect(self._dsn, self._application_name)
            except CONNECTION_ERRORS:
                if time.monotonic() + pause_seconds > deadline:
                    raise
                time.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 1.0)

    def _give_back(self, session: connection) -> None:
        if session.closed or session.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            session.close()
            return
        with self._guard:
            self._idle.append(session)


def _is_alive(session: connection) -> bool:
    """Notice without a round trip that the server ended an idle session."""
    try:
        session.poll()
        session.poll()  # the first one still succeeds after the server has hung up
    except psycopg2.Error:
        return False
    return not session.closed


@lru_cache(maxsize=1)
def database() -> Database:
    """The process's pool, opened at first use."""
    configured = settings()
    return Database(
        configured.database_url.get_secret_value(),
        max_connections=configured.database_pool_max_connections,
        wait_seconds=configured.database_pool_wait_seconds,
    )
