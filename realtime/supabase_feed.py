"""Hints from Supabase Realtime: a connection with one channel, made anew whenever anything ends it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import structlog
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from app.backoff import backoff_ms
from app.redaction import redact, remember_secret
from realtime.hints import Hints
from realtime.phoenix.channel import Channel, ChannelLostError, Timing
from realtime.phoenix.frames import BadFrameError, Binding, Change
from realtime.phoenix.tokens import Tokens

log = structlog.get_logger(__name__)

#: The platform doesn't publish its votes, but the tallies that each vote rewrites; and its battles, whose
#: changes of status stand in a table that isn't published either.
BINDINGS = (
    Binding("*", "vote_aggregates", "battles"),
    Binding("UPDATE", "battles", "battles"),
)

#: What ends a connection, and is answered by the next one.
_LOSSES = (ChannelLostError, BadFrameError, WebSocketException, OSError, TimeoutError)

#: Realtime's own limit on a frame is 5 MB.
MAX_FRAME_BYTES = 8_000_000


class SupabaseFeed:
    """Listens to a project's Realtime service for ever."""

    def __init__(self, project_url: str, api_key: str, tokens: Tokens, timing: Timing | None = None) -> None:
        remember_secret(api_key)
        self._url = websocket_url(project_url, api_key)
        self._tokens = tokens
        self._timing = timing or Timing()
        self._failures = 0

    async def run(self, hints: Hints) -> None:
        """Give hints until cancelled."""
        while True:
            try:
                await self._listen_once(hints)
            except* _LOSSES as losses:
                reason = redact("; ".join(str(loss) or type(loss).__name__ for loss in losses.exceptions))
                level = log.warning if self._failures == 0 else log.debug
                level("lost Realtime", reason=reason)
            self._failures += 1
            await asyncio.sleep(self._pause_seconds())

    def _pause_seconds(self) -> float:
        timing = self._timing
        pause_ms = backoff_ms(
            self._failures, min_ms=round(timing.min_pause * 1000), max_ms=round(timing.max_pause * 1000)
        )
        return pause_ms / 1000

    async def _listen_once(self, hints: Hints) -> None:
        timing = self._timing
        async with connect(
            self._url,
            open_timeout=timing.connect,
            ping_interval=None,  # heartbeats ask for more: that the channel's server answers, not a proxy
            close_timeout=1,
            max_size=MAX_FRAME_BYTES,
        ) as socket:
            channel = Channel(
                socket,
                "lf-worker",
                BINDINGS,
                self._tokens,
                timing,
                on_change=lambda change: pass_on(change, hints),
                on_subscribed=lambda: self._begin_to_hear(hints),
            )
            await channel.listen()

    def _begin_to_hear(self, hints: Hints) -> None:
        log.info("subscribed to Realtime")
        self._failures = 0
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


def websocket_url(project_url: str, api_key: str) -> str:
    """The address of a project's Realtime service; the key stands in it, since the gateway reads it there."""
    parts = urlsplit(project_url.rstrip("/"))
    scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
    query = urlencode({"apikey": api_key, "vsn": "1.0.0"})
    return f"{scheme}://{parts.netloc}{parts.path}/realtime/v1/websocket?{query}"
