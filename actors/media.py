"""Media tasks: images, videos and music that a provider makes in its own time, and Chainabit's sessions."""

from __future__ import annotations

from app import media
from app.claims import Claim
from app.platform.media import MediaTask, fail_task
from app.settings import settings
from app.work import work

#: Time for everything around the provider and Storage: keys, and waiting for the database.
AROUND_THE_CALLS_MS = 90_000


@work(
    "media_poll",
    queue="media",
    job=MediaTask,
    fail=fail_task,
    time_limit_ms=settings().provider_timeout_ms
    + 2 * settings().media_transfer_timeout_ms
    + AROUND_THE_CALLS_MS,
)
def poll_media_task(claim: Claim[MediaTask]) -> None:
    """Ask a provider for a task once, and hand its medium in; or come back when it may be ready."""
    media.collect(claim)
