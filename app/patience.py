"""Outages of the database, sat out where something would be lost otherwise."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import structlog

from app.errors import DatabaseAway

log = structlog.get_logger(__name__)

#: How long an outage is sat out, unless the caller says otherwise: a server restarts within this.
PATIENCE_SECONDS = 30.0

#: The first pause and the longest; each is twice the one before, less up to a half of it.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 5.0

Answer = TypeVar("Answer")


def retry_on_disconnect(ask: Callable[[], Answer], *, seconds: float | None = None) -> Answer:
    """The database's answer, asked for again while the database is away or its answer was lost.

    `ask` is called again in whole, on another session. Raises `DatabaseAway` once that time is over
    (PATIENCE_SECONDS where none is given), and at once what the database refuses for good.
    """
    give_up_at = time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
    for pause_seconds in _pauses():
        try:
            return ask()
        except DatabaseAway as error:
            if time.monotonic() + pause_seconds > give_up_at:
                raise
            log.warning("the database went away; it is asked again", error=str(error))
        time.sleep(pause_seconds)
    raise AssertionError("the pauses have no end")


def _pauses() -> Iterator[float]:
    longest_seconds = FIRST_PAUSE_SECONDS
    while True:
        yield longest_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        longest_seconds = min(2 * longest_seconds, LONGEST_PAUSE_SECONDS)
