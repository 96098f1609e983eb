"""The realtime process's own loop in a thread of the test, on the test's database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.database import Database
from realtime.forwarder import Rhythm
from realtime.hints import Feed
from realtime.outlet import Outlet
from realtime.service import serve


@contextmanager
def serving(feed: Feed, database: Database, *, catch_up_seconds: float = 3_600.0) -> Iterator[None]:
    """Serve during the block; an error in the loop fails the test.

    The catch-up by the clock comes too late by default: what is found is found by hints and after gaps.
    """
    loop = asyncio.new_event_loop()
    rhythm = Rhythm(catch_up_seconds=catch_up_seconds, pause_seconds=0.01, retry_seconds=0.1)
    task = loop.create_task(serve(feed, Outlet(database), rhythm))
    thread = threading.Thread(target=_run, args=(loop, task))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
    assert not thread.is_alive()
    assert task.cancelled(), task.exception()


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(asyncio.wait([task]))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
