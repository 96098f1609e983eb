"""The forwarder: from hints to inspections of votes and runs of workflows.

Hints make it quick. What makes it right is the catch-up, which asks the database for everything that nobody
has seen yet: after every gap of the feed, and at a fixed interval however quiet it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from app.errors import DatabaseAway
from realtime.hints import Heard, Hints
from realtime.outlet import Outlet

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Rhythm:
    """How often the forwarder looks.

    `catch_up_seconds`: between two catch-ups. `pause_seconds`: after each look, so that votes which arrive
    together are one look. `retry_seconds`: after the database went away.
    """

    catch_up_seconds: float = 15.0
    pause_seconds: float = 0.05
    retry_seconds: float = 0.5


class Forwarder:
    """Looks where the hints point, and everywhere now and then."""

    def __init__(self, outlet: Outlet, hints: Hints, rhythm: Rhythm) -> None:
        self._outlet = outlet
        self._hints = hints
        self._rhythm = rhythm
        self._caught_up_at = -float("inf")
        self._is_away = False

    async def run(self) -> None:
        """Forward until cancelled."""
        while True:
            heard = await self._hints.take(self._until_catch_up())
            if self._until_catch_up() <= 0:
                heard.everything = True
            if heard:
                await self._look(heard)
                await asyncio.sleep(self._rhythm.pause_seconds)

    def _until_catch_up(self) -> float:
        return max(0.0, self._caught_up_at + self._rhythm.catch_up_seconds - time.monotonic())

    async def _look(self, heard: Heard) -> None:
        began = time.monotonic()
        if heard.battles and not await self._try(heard, lambda: self._outlet.want_inspections(heard.battles)):
            return
        look = self._outlet.catch_up if heard.everything else self._outlet.dispatch_events
        if (heard.everything or heard.events) and not await self._try(heard, look):
            return
        if heard.everything:
            self._caught_up_at = began

    async def _try(self, heard: Heard, look: Callable[[], None]) -> bool:
        """Do it in a thread, since it waits for the database; whether it could be done."""
        try:
            await asyncio.to_thread(look)
        except DatabaseAway as error:
            if not self._is_away:
                log.warning("database is away", error=str(error))
            self._is_away = True
            self._hints.put_back(heard)
            await asyncio.sleep(self._rhythm.retry_seconds)
            # At once again when the pause is over, whether or not anything is heard meanwhile.
            self._hints.everything()
            return False
        if self._is_away:
            log.info("database is back")
        self._is_away = False
        return True
