"""Hints from Supabase Realtime: a connection with one channel, made anew whenever anything ends it."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from app.backoff import ReconnectBackoff
from app.phoenix.channel import Channel, Timing
from app.phoenix.frames import Change
from app.phoenix.subscription import BINDINGS, LOSSES, TOPIC, Endpoint
from app.redaction import redact, remember_secret
from realtime.hints import Hints

log = structlog.get_logger(__name__)


class SupabaseFeed:
    """Listens to a project's Realtime service for ever."""

    def __init__(self, endpoint: Endpoint, timing: Timing | None = None) -> None:
        remember_secret(endpoint.api_key)
        self._endpoint = endpoint
        self._timing = timing or Timing()
        self._backoff = ReconnectBackoff(
            min_ms=round(self._timing.min_pause * 1000),
            max_ms=round(self._timing.max_pause * 1000),
            lasting_seconds=self._timing.lasting,
        )

    async def run(self, hints: Hints) -> None:
        """Give hints until cancelled."""
        while True:
            reason = ""
            try:
                await self._listen_once(hints)
            except* LOSSES as losses:
                reason = redact("; ".join(str(loss) or type(loss).__name__ for loss in losses.exceptions))
            pause_seconds = self._backoff.lost()
            level = log.warning if self._backoff.losses == 1 else log.debug
            level("lost Realtime", reason=reason)
            await asyncio.sleep(pause_seconds)

    async def _listen_once(self, hints: Hints) -> None:
        timing = self._timing
        async with self._endpoint.connect(timing) as socket:
            channel = Channel(
                socket,
                TOPIC,
                BINDINGS,
                self._endpoint.tokens,
                timing,
                on_change=lambda change: pass_on(change, hints),
                on_subscribed=lambda: self._begin_to_hear(hints),
            )
            await channel.listen()

    def _begin_to_hear(self, hints: Hints) -> None:
        log.info("subscribed to Realtime")
        self._backoff.connected()
        hints.everything()


def pass_on(change: Change, hints: Hints) -> None:
    """Turn a change into a hint; one that names no battle, say because it was cut, means everywhere."""
    if change.table == "battles":
        hints.events()
        return
    try:
        hints.votes(UUID(str(change.record["battle_id"])))
    except (KeyError, ValueError):
        hints.everything()
