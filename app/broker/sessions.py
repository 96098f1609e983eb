"""A thread that lives on one database session and comes back when the session is lost."""

from __future__ import annotations

import math
import random
import threading
import time
from abc import ABC, abstractmethod

import psycopg2
import structlog
from psycopg2.extensions import connection

from app.errors import DatabaseAway
from app.outages import outage_of
from app.sessions import connect, discard, stale_role

log = structlog.get_logger(__name__)

#: A session that lived this long was a good one: the next loss is a new one.
GOOD_SESSION_SECONDS = 5.0


class SessionThread(threading.Thread, ABC):
    """Runs `serve` on a session of its own, again on a new one after each loss, until stopped.

    A loss is logged once, however long the database stays away; the pauses grow and are jittered so that
    a fleet does not come back all at once. No error ends the thread: a process without one of its threads
    would look alive and do nothing.
    """

    #: Longest pause between two tries.
    longest_pause_seconds = 5.0

    def __init__(self, dsn: str, name: str) -> None:
        super().__init__(name=f"lf-worker {name}", daemon=True)
        self._dsn = dsn
        self._stopping = threading.Event()
        self._connected_at = math.inf

    @abstractmethod
    def serve(self, session: connection) -> None:
        """Work on the session until stopped; raising an error asks for a new session."""

    def is_done(self) -> bool:
        """Whether the thread may end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Ask the thread to end; join it to wait."""
        self._stopping.set()

    def run(self) -> None:
        """Connect and serve until done."""
        failures = 0
        while not self.is_done():
            if self._serve_once(failures):
                return
            failures = 1 if self._was_good() else failures + 1
            self._pause(failures)

    def _serve_once(self, failures: int) -> bool:
        """One session from beginning to end; False when it was lost."""
        self._connected_at = math.inf
        session: connection | None = None
        away: DatabaseAway | None
        try:
            session = connect(self._dsn, self.name, durable=False, writable=True)
            self._connected_at = time.monotonic()
            if failures:
                log.info("database is back", thread=self.name)
            self.serve(session)
            session.close()
            return True
        except DatabaseAway as error:
            away = error
        except Exception as error:
            away = _outage(session, error)
            if away is None:
                log.exception("thread goes on after an error", thread=self.name)
        if away is not None and (not failures or self._was_good()):
            log.warning("database is away", thread=self.name, error=str(away))
        if session is not None:
            discard(session)
        return False

    def _was_good(self) -> bool:
        """Whether the session that was just lost had lasted: its loss is a new one."""
        return time.monotonic() - self._connected_at > GOOD_SESSION_SECONDS

    def _pause(self, failures: int) -> None:
        longest_seconds = min(self.longest_pause_seconds, 0.1 * 2.0 ** min(failures, 10))
        pause_seconds = longest_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        if self._stopping.is_set():
            time.sleep(min(pause_seconds, 0.2))  # somebody waits for the end
        else:
            self._stopping.wait(pause_seconds)


def _outage(session: connection | None, error: Exception) -> DatabaseAway | None:
    """The error as one that another session doesn't meet, if it is one."""
    if session is None or not isinstance(error, psycopg2.Error):
        return None
    return outage_of(error) or stale_role(session, error)
