"""Run events over HTTP: tell the followers of a workflow run what has happened, after it has."""

from __future__ import annotations

from uuid import UUID

import dramatiq
import structlog

from app.database import database
from app.errors import DatabaseAway
from app.platform.broadcasts import broadcast
from app.platform.run_events import settle_messages, take_messages
from app.settings import settings

log = structlog.get_logger(__name__)

TIME_LIMIT_MS = 120_000
#: When to look again while another process sends for the run, and when more is to go than a second takes.
BUSY_MS = 300
FULL_MS = 1_000
#: A message whose database went away is taken again after this.
RETRY_MS = 1_000


@dramatiq.actor(queue_name="run_events", time_limit=TIME_LIMIT_MS)
def publish_run_events(run: str) -> None:
    """Send what a run's followers have not been told, in order; what Realtime doesn't take is counted."""
    try:
        _send_all(UUID(run))
    except DatabaseAway as error:
        log.warning("database went away while a run was told of", error=str(error))
        raise dramatiq.Retry(delay=RETRY_MS) from None


def _send_all(run_id: UUID) -> None:
    while True:
        outgoing = take_messages(database(), run_id)
        if outgoing.state != "ready":
            raise dramatiq.Retry(delay=BUSY_MS if outgoing.state == "busy" else FULL_MS) from None
        if not outgoing.messages:
            return
        failures = broadcast(settings(), f"workflow-run-{run_id}", outgoing.messages)
        settle_messages(database(), run_id, outgoing.sender, failures)
