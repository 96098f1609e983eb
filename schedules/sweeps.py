"""The sweeps: small duties on a timetable that find what a notification or a dead process left behind."""

from __future__ import annotations

import psycopg2
import structlog

from app import alerts
from app.database import database
from app.settings import settings
from app.sweeps import Missed, sweep

log = structlog.get_logger(__name__)


#: Batches of a thousand of each that one tick of `prune` deletes at most: 330 jobs a second are kept up with.
MAX_PRUNE_BATCHES = 200


@sweep("* * * * *", missed=Missed.SKIP)
def add_missing_tickets() -> None:
    """Give a ticket to each claimable job that lost its own, or never had one."""
    for row in database().call("SELECT kind FROM worker.kinds ORDER BY kind"):
        _add_missing_tickets(row["kind"])


def _add_missing_tickets(kind: str) -> None:
    """The same for one kind; one whose jobs can't be counted leaves the others theirs."""
    try:
        added = database().call("SELECT worker.add_missing_tickets(%s) AS added", (kind,))[0]["added"]
    except psycopg2.Error as error:
        log.exception("missing tickets were not looked for", kind=kind)
        alerts.unexpected(error)
        return
    if added:
        log.warning("added missing tickets", kind=kind, tickets=added)


@sweep("*/10 * * * *", missed=Missed.SKIP)
def prune() -> None:
    """Delete claims and dead letters that ended long ago, a small batch at a time."""
    deleted, reached = 0, None
    for _ in range(MAX_PRUNE_BATCHES):
        batch = database().call(
            "SELECT deleted, reached::text FROM worker.prune(%s * interval '1 day', p_from => %s)",
            (settings().retention_days, reached),
        )[0]
        deleted += batch["deleted"]
        reached = batch["reached"]
        if not batch["deleted"]:
            break
    if deleted:
        log.info("pruned", rows=deleted)


@sweep("*/5 * * * *", missed=Missed.SKIP)
def prune_limits() -> None:
    """Forget places in line, pauses and counts of calls that are over."""
    database().call("SELECT worker.prune_limits()")


@sweep("*/5 * * * *", missed=Missed.SKIP)
def prune_budgets() -> None:
    """Add up what owners with budgets have spent, and forget the days that no budget looks at any more."""
    for _ in range(MAX_PRUNE_BATCHES):
        if not database().call("SELECT worker.prune_budgets() AS rows")[0]["rows"]:
            break
