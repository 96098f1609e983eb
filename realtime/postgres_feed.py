"""Hints from our own triggers, by LISTEN."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog
from psycopg2.extensions import connection

from app.backoff import ReconnectBackoff
from app.errors import DatabaseAway
from app.outages import telling_outages
from app.sessions import connect
from realtime.hints import Hints

log = structlog.get_logger(__name__)

VOTES = "lf_worker.votes"
EVENTS = "lf_worker.battle_events"

#: A session that says nothing for so long is asked whether it still lives: a lost network is silent.
PROBE_SECONDS = 15.0
#: Bounds of the pause before the next try to connect.
MIN_PAUSE_MS, MAX_PAUSE_MS = 100, 5_000
#: A session that was listened to for so long was a good one: its loss is a new one.
GOOD_SESSION_SECONDS = 5.0


class PostgresFeed:
    """Listens on a session of its own and opens another one whenever it is lost."""

    def __init__(self, dsn: str, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._dsn = dsn
        self._probe_seconds = probe_seconds
        self._backoff = ReconnectBackoff(
            min_ms=MIN_PAUSE_MS, max_ms=MAX_PAUSE_MS, lasting_seconds=GOOD_SESSION_SECONDS
        )

    async def run(self, hints: Hints) -> None:
        """Give hints until cancelled."""
        while True:
            reason = ""
            try:
                session = await asyncio.to_thread(connect, self._dsn, "lf-worker realtime", durable=False)
                try:
                    with telling_outages():
                        await self._listen(session, hints)
                finally:
                    session.close()
            except DatabaseAway as error:
                reason = str(error)
            pause_seconds = self._backoff.lost()
            if self._backoff.losses == 1:
                log.warning("lost the session that listens", error=reason)
            await asyncio.sleep(pause_seconds)

    async def _listen(self, session: connection, hints: Hints) -> None:
        await asyncio.to_thread(_execute, session, f'LISTEN "{VOTES}"; LISTEN "{EVENTS}"')
        self._backoff.connected()
        hints.everything()
        readable = asyncio.Event()
        loop, descriptor = asyncio.get_running_loop(), session.fileno()
        loop.add_reader(descriptor, readable.set)
        try:
            while True:
                try:
                    async with asyncio.timeout(self._probe_seconds):
                        await readable.wait()
                except TimeoutError:
                    await asyncio.to_thread(_execute, session, "SELECT 1")
                readable.clear()
                # After a hang-up the first poll still succeeds; the socket stays so, and the next one fails.
                session.poll()
                _pass_on(session, hints)
        finally:
            loop.remove_reader(descriptor)


def _pass_on(session: connection, hints: Hints) -> None:
    for notification in session.notifies:
        if notification.channel == EVENTS:
            hints.events()
            continue
        try:
            hints.votes(UUID(notification.payload))
        except ValueError:
            # Anybody may notify: what can't be read is a reason to look everywhere.
            hints.everything()
    session.notifies.clear()


def _execute(session: connection, statement: str) -> None:
    with session.cursor() as row:
        row.execute(statement)
