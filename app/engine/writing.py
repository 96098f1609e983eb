"""Write a page to the database, through short outages, and learn whether the run is still ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from app.database import CONNECTION_ERRORS, Database
from app.engine.page import Page
from app.platform.workflows import RunHold, RunLost, Verdict

log = structlog.get_logger(__name__)

#: A page is worth some tries: what is lost with it may have been paid for.
TRIES = 4
PAUSE_SECONDS = 0.5


Answer = TypeVar("Answer")


def write(database: Database, hold: RunHold, page: Page) -> None:
    """Save a page in one transaction; raises `RunLost` if the run isn't ours, and then nothing is written.

    A connection that breaks just as the transaction ends may leave an event twice in the log, never a
    node's result.
    """
    if not page:
        return
    verdict = patiently(lambda: hold.save(database, page.writes, page.events, page.calls))
    if verdict is not Verdict.OURS:
        raise RunLost(verdict)


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The database's answer to a step of a run, asked for again through short outages."""
    for tries_left in reversed(range(TRIES)):
        try:
            return ask()
        except CONNECTION_ERRORS as error:
            if not tries_left:
                raise
            log.warning("progress of a run could not be written", error=str(error).strip())
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")
