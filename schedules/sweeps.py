"""The sweeps: small duties on a timetable that find what a notification or a dead process left behind."""

from __future__ import annotations

import structlog

from app.database import database
from app.sweeps import Missed, sweep

log = structlog.get_logger(__name__)


@sweep("* * * * *", missed=Missed.SKIP)
def add_missing_tickets() -> None:
    """Give a ticket to each claimable job that lost its own, or never had one."""
    for row in database().call("SELECT kind, worker.add_missing_tickets(kind) AS added FROM worker.kinds"):
        if row["added"]:
            log.warning("added missing tickets", kind=row["kind"], tickets=row["added"])
