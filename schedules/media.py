"""Sweeps of media: runs that other producers started at a provider are taken over, leftovers are closed."""

from __future__ import annotations

import structlog

from app.database import database
from app.settings import settings
from app.sweeps import Missed, sweep

log = structlog.get_logger(__name__)


@sweep("* * * * *", missed=Missed.SKIP)
def adopt_async_runs() -> None:
    """Take over asynchronous runs that nobody polls, and time out those that took too long."""
    configured = settings()
    if not configured.async_media_poll_enabled:
        return
    limits = (
        configured.async_poll_stale_after_seconds,
        configured.async_poll_batch_limit,
        configured.media_task_expiry_seconds,
    )
    seen = configured.async_poll_batch_limit
    while seen == configured.async_poll_batch_limit:
        found = database().call("SELECT * FROM worker.fn_adopt_async_runs(%s, %s, %s)", limits)[0]
        seen = found["seen"]
        if found["adopted"]:
            log.info("took over asynchronous runs", runs=found["adopted"])
        if found["unknown"]:
            log.warning("asynchronous runs name no provider and can't be polled", runs=found["unknown"])
    timed_out = database().call("SELECT execution.fn_timeout_stale_runs() AS runs")[0]["runs"]
    if timed_out:
        log.warning("asynchronous runs timed out", runs=timed_out)


@sweep("*/10 * * * *", missed=Missed.SKIP)
def tidy_media_tasks() -> None:
    """Close the tasks of jobs that ended, and forget those that ended long ago."""
    database().call("SELECT worker.fn_tidy_media_tasks()")
