"""A small pool of sessions with Postgres that waits, and drops what went bad."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor
from psycopg2.extras import RealDictCursor

from app.errors import DatabaseAway
from app.outages import outage_of
from app.sessions import connect, discard, is_alive, stale_role
from app.settings import settings


class Database:
    """A bounded pool of sessions. A thread that finds none free waits for one instead of failing.

    Everything raises `DatabaseAway` for what passes by itself, and an error of psycopg2 for what the database
    refuses for good. A session that went bad is not used again, nor are those that were opened before then.
    """

    def __init__(
        self, dsn: str, *, max_connections: int, wait_seconds: float, application_name: str = "lf-worker jobs"
    ) -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._wait_seconds = wait_seconds
        self._free = threading.Semaphore(max_connections)
        self._idle: list[_Pooled] = []
        self._era = 0
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
        for pooled in idle:
            pooled.session.close()

    @contextmanager
    def _session(self) -> Iterator[connection]:
        deadline = time.monotonic() + self._wait_seconds
        if not self._free.acquire(timeout=self._wait_seconds):
            raise DatabaseAway(f"no database connection became free within {self._wait_seconds:g} s")
        try:
            pooled = self._take(deadline)
            try:
                yield pooled.session
            except psycopg2.Error as error:
                outage = outage_of(error) or stale_role(pooled.session, error)
                if outage is None:
                    raise
                if not outage.session_is_good:
                    self._drop(pooled)
                raise outage from error
            finally:
                self._give_back(pooled)
        finally:
            self._free.release()

    def _take(self, deadline: float) -> _Pooled:
        while True:
            with self._guard:
                pooled, era = self._idle.pop() if self._idle else None, self._era
            if pooled is None:
                return _Pooled(self._open(deadline), era)
            if pooled.era == era and is_alive(pooled.session):
                return pooled
            discard(pooled.session)

    def _open(self, deadline: float) -> connection:
        pause_seconds = 0.05
        while True:
            try:
                return connect(self._dsn, self._application_name, writable=True)
            except DatabaseAway:
                if time.monotonic() + pause_seconds > deadline:
                    raise
                time.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 1.0)

    def _drop(self, pooled: _Pooled) -> None:
        """Use the session no more. What is wrong with one that still lives may be with the others too."""
        if not pooled.session.closed:
            with self._guard:
                self._era = max(self._era, pooled.era + 1)
        discard(pooled.session)

    def _give_back(self, pooled: _Pooled) -> None:
        session = pooled.session
        if session.closed or session.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            session.close()
            return
        with self._guard:
            self._idle.append(pooled)


@dataclass(frozen=True)
class _Pooled:
    """A session, and how often sessions of its pool had gone bad when it was opened."""

    session: connection
    era: int


@lru_cache(maxsize=1)
def database() -> Database:
    """The process's pool, opened at first use."""
    configured = settings()
    return Database(
        configured.database_url.get_secret_value(),
        max_connections=configured.database_pool_max_connections,
        wait_seconds=configured.database_pool_wait_seconds,
    )
