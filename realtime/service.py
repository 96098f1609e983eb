"""The process: a feed, a forwarder, and an end in good order."""

from __future__ import annotations

import asyncio
import itertools
import signal

import structlog

from app.backoff import backoff_ms
from app.database import Database
from app.errors import DatabaseAway
from app.phoenix.subscription import find_endpoint
from app.settings import Settings
from realtime.forwarder import Forwarder, Rhythm
from realtime.hints import Feed, Hints
from realtime.outlet import Outlet
from realtime.postgres_feed import MAX_PAUSE_MS, MIN_PAUSE_MS, PostgresFeed
from realtime.supabase_feed import SupabaseFeed

log = structlog.get_logger(__name__)


def choose_feed(settings: Settings) -> Feed:
    """Realtime where a project and its key are configured and not ruled out, else the database."""
    endpoint = find_endpoint(settings)
    if endpoint is None:
        return PostgresFeed(settings.database_url.get_secret_value())
    return SupabaseFeed(endpoint)


async def serve(feed: Feed, outlet: Outlet, rhythm: Rhythm | None = None) -> None:
    """Forward what the feed hints at until cancelled."""
    await _begin(outlet)
    hints = Hints()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(feed.run(hints))
        tasks.create_task(Forwarder(outlet, hints, rhythm or Rhythm()).run())


async def _begin(outlet: Outlet) -> None:
    for failures in itertools.count(1):
        try:
            await asyncio.to_thread(outlet.begin)
        except DatabaseAway as error:
            if failures == 1:
                log.warning("database is away", error=str(error))
        else:
            return
        await asyncio.sleep(backoff_ms(failures, min_ms=MIN_PAUSE_MS, max_ms=MAX_PAUSE_MS) / 1000)


async def serve_until_signalled(settings: Settings, database: Database) -> None:
    """Serve until SIGTERM or SIGINT; nothing is lost then, because nothing but the watermark is kept."""
    outlet = Outlet(
        database,
        votes_enabled=settings.vote_anomaly_enabled,
        events_enabled=settings.workflow_dispatch_enabled,
    )
    feed = choose_feed(settings)
    serving = asyncio.create_task(serve(feed, outlet))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    log.info("realtime is up", feed=type(feed).__name__)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("realtime is down")
