"""A thread that lives on one database session and comes back when the session is lost."""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod

import psycopg2
import structlog
from psycopg2.extensions import connection

from app.database import CONNECTION_ERRORS, connect

log = structlog.get_logger(__name__)

#: Longest pause between two tries to reconnect.
MAX_RECONNECT_SECONDS = 5.0


class SessionThread(threading.Thread, ABC):
    """Runs `serve` on a session of its own, again on a new one after each loss, until stopped.

    A loss is logged once, however long the database stays away; the pauses grow and are jittered so that
    a fleet does not come back all at once.
    """

    def __init__(self, dsn: str, name: str) -> None:
        super().__init__(name=f"lf-worker {name}", daemon=True)
        self._dsn = dsn
        self._stopping = threading.Event()

    @abstractmethod
    def serve(self, session: connection) -> None:
        """Work on the session until stopped; raising a psycopg2 error asks for a new session."""

    def stop(self) -> None:
        """Ask the thread to end; join it to wait."""
        self._stopping.set()

    def run(self) -> None:
        """Connect and serve until stopped."""
        failures = 0
        while not self._stopping.is_set():
            session = None
            try:
                session = connect(self._dsn, self.name, durable=False)
                if failures:
                    log.info("database is back", thread=self.name)
                failures = 0
                self.serve(session)
            except CONNECTION_ERRORS as error:
                if not failures:
                    log.warning("database is away", thread=self.name, error=str(error).strip())
                failures += 1
            except psycopg2.Error as error:
                failures += 1
                log.error("statement failed", thread=self.name, error=str(error).strip())
            finally:
                if session is not None:
                    session.close()
            if failures:
                self._stopping.wait(_reconnect_pause_seconds(failures))


def _reconnect_pause_seconds(failures: int) -> float:
    longest: float = min(MAX_RECONNECT_SECONDS, 0.1 * 2.0 ** min(failures, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
