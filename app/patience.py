"""Short outages of the database, sat out by whoever holds what has been paid for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from app.errors import DatabaseAway

log = structlog.get_logger(__name__)

#: Worth some tries: what is lost otherwise may have been paid for.
TRIES = 4
PAUSE_SECONDS = 0.5

Answer = TypeVar("Answer")


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The database's answer, asked for again through short outages."""
    for tries_left in reversed(range(TRIES)):
        try:
            return ask()
        except DatabaseAway as error:
            if not tries_left:
                raise
            log.warning("the database went away; it is asked again", error=str(error))
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last try returns or raises")
