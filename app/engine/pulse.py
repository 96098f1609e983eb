"""The heartbeat of a run, from a thread that no node can block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

import psycopg2
import structlog

from app.database import Database
from app.errors import DatabaseError
from app.platform.workflows import Verdict

log = structlog.get_logger(__name__)


class Hold(Protocol):
    """One attempt's hold on a run, of a workflow or a team."""

    @property
    def run_id(self) -> UUID:
        """The run."""

    def beat(self, database: Database) -> Verdict:
        """Say that the run is being worked on, and learn whether it still should be."""


@contextmanager
def pulse(
    database: Database, hold: Hold, interval_seconds: float, tell: Callable[[Verdict], None]
) -> Iterator[None]:
    """Beat at once and at every interval during the block.

    `tell` is called once, if the run isn't ours any more or shall be ended. A beat that can't be written is
    logged and left out: the database may be away for a moment.
    """
    over = threading.Event()

    def beat_until_over() -> None:
        while True:
            verdict = _beat(database, hold)
            if over.is_set():
                return
            if verdict is not Verdict.OURS:
                tell(verdict)
                return
            if over.wait(interval_seconds):
                return

    thread = threading.Thread(target=beat_until_over, name=f"pulse of {hold.run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _beat(database: Database, hold: Hold) -> Verdict:
    try:
        return hold.beat(database)
    except (psycopg2.Error, DatabaseError) as error:
        log.warning("no heartbeat of the run", runId=str(hold.run_id), error=str(error).strip())
        return Verdict.OURS
