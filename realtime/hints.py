"""Hints: what a feed has heard of. They say where to look; the database says what is there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

#: Beyond this many battles a catch-up is cheaper than naming each.
MAX_BATTLES = 5_000


@dataclass
class Heard:
    """What was heard since the last look: battles with new votes, changes of status, or all at once."""

    battles: set[UUID] = field(default_factory=set)
    events: bool = False
    everything: bool = False

    def __bool__(self) -> bool:
        return bool(self.battles) or self.events or self.everything


class Hints:
    """Collects hints between two looks, so that a flood of them is one look. For one event loop."""

    def __init__(self) -> None:
        self._heard = Heard()
        self._something = asyncio.Event()

    def votes(self, battle_id: UUID) -> None:
        """There are new votes in a battle."""
        self._heard.battles.add(battle_id)
        if len(self._heard.battles) > MAX_BATTLES:
            self._heard.battles.clear()
            self._heard.everything = True
        self._something.set()

    def events(self) -> None:
        """Some battle changed its status."""
        self._heard.events = True
        self._something.set()

    def everything(self) -> None:
        """The feed was deaf until now, or can't tell what happened."""
        self._heard.everything = True
        self._something.set()

    def put_back(self, heard: Heard) -> None:
        """What could not be looked at is to be looked at again."""
        self._heard.battles |= heard.battles
        self._heard.events |= heard.events
        self._heard.everything |= heard.everything

    async def take(self, within_seconds: float) -> Heard:
        """Wait for a hint, for a while at most, and take all there are."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._something.wait()
        except TimeoutError:
            pass  # nothing was heard: the caller looks at the clock
        self._something.clear()
        heard, self._heard = self._heard, Heard()
        return heard


class Feed(Protocol):
    """A source of hints."""

    async def run(self, hints: Hints) -> None:
        """Give hints until cancelled, and come back by itself after every loss.

        Calls `hints.everything()` each time it begins to hear again.
        """
