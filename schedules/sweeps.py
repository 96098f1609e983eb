"""The sweeps: small duties on a timetable that find what a notification or a dead process left behind.

Each is harmless when it runs twice at once, so a second scheduler does no harm.
"""

from __future__ import annotations

import dramatiq
import structlog
from periodiq import cron

from app.database import database

log = structlog.get_logger(__name__)


@dramatiq.actor(queue_name="sweeps", periodic=cron("* * * * *"), time_limit=60_000)
def add_missing_tickets() -> None:
    """Give a ticket to each claimable job that lost its own, or never had one."""
    for row in database().call("SELECT kind, worker.add_missing_tickets(kind) AS added FROM worker.kinds"):
        if row["added"]:
            log.warning("added missing tickets", kind=row["kind"], tickets=row["added"])
