"""Media that nodes of workflows order, what providers make in their own time, and Chainabit's sessions."""

from __future__ import annotations

from app import media
from app.claims import Claim
from app.database import database
from app.platform.keys import Payer, for_payer
from app.platform.media import MediaTask, fail_task
from app.platform.node_media import NodeMedium, fail_node_medium
from app.providers import Prompt
from app.settings import settings
from app.work import work

#: Time for everything around the provider and Storage: keys, and waiting for the database.
AROUND_THE_CALLS_MS = 90_000


TIME_LIMIT_MS = (
    settings().provider_timeout_ms + 2 * settings().media_transfer_timeout_ms + AROUND_THE_CALLS_MS
)


@work("media_poll", queue="media", job=MediaTask, fail=fail_task, time_limit_ms=TIME_LIMIT_MS)
def poll_media_task(claim: Claim[MediaTask]) -> None:
    """Ask a provider for a task once, and hand its medium in; or come back when it may be ready."""
    media.collect(claim)


@work("node_media", queue="media", job=NodeMedium, fail=fail_node_medium, time_limit_ms=TIME_LIMIT_MS)
def make_node_medium(claim: Claim[NodeMedium]) -> None:
    """Have the medium made that a workflow's node waits for."""
    if media.hand_in_kept(claim):
        return
    wanted = claim.job
    payer = Payer("platform_credit", None, wanted.owner_lenser_id)
    source = None
    if wanted.source_url:
        source = media.load(database(), wanted.source_url, wanted.owner_lenser_id, {"image"})
    media.make(
        claim,
        wanted.ordered_from,
        Prompt(wanted.prompt),
        key=for_payer(database(), settings(), payer, wanted.provider),
        byok_key_id=None,
        wishes=wanted.wishes,
        source=source,
    )
