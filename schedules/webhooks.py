"""The sweeps of the webhook outbox: rows that no trigger told of, and records that are old enough to go."""

from __future__ import annotations

import structlog

from app.database import database
from app.settings import settings
from app.sweeps import Missed, sweep

log = structlog.get_logger(__name__)

MOST_ROWS = 10_000
PRUNED_ROWS = 1_000


@sweep("* * * * *", missed=Missed.SKIP)
def dispatch_webhook_outbox() -> None:
    """Take up what is due in the outbox and not on its way."""
    added = database().call("SELECT fn_dispatch_webhook_outbox(%s) AS added", (MOST_ROWS,))[0]["added"]
    if added:
        log.warning("took up webhooks that were not on their way", tickets=added)


@sweep("40 4 * * *", missed=Missed.CATCH_UP_ONCE)
def prune_webhooks() -> None:
    """Delete the records of deliveries that ended long ago."""
    statement = "SELECT worker.prune_webhooks(%s * interval '1 day', %s) AS pruned"
    while database().call(statement, (settings().retention_days, PRUNED_ROWS))[0]["pruned"] == PRUNED_ROWS:
        pass
