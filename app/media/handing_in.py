"""Writing down what came of an order: a provider's task, or a medium that was made at once.

Either was bought, so it is in hand until it is written; `hand_in_kept` goes on from what an earlier attempt
kept, without the order and its key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import structlog
from psycopg2.extensions import cursor

from app.claims import Claim
from app.errors import GiveUp, PutBack, RetryLater
from app.media.keeping import keep, keep_link
from app.platform import media_tasks
from app.platform.media import OwnerKind, complete, place_of
from app.platform.media_tasks import Order
from app.providers.media import Finished, Media, Started
from app.settings import settings

log = structlog.get_logger(__name__)

#: Longest pause before storing a finished medium is tried again.
MAX_STORING_PAUSE_SECONDS = 60.0

#: The first poll comes when a provider is usually done, but after so many poll intervals at the latest.
MAX_FIRST_POLL_INTERVALS = 4


@dataclass(frozen=True)
class Ordered:
    """A provider took the order of a `task` and calls it `task_id`."""

    task: UUID
    provider: str
    model: str
    task_id: str
    poll_after_seconds: float


@dataclass(frozen=True)
class Made:
    """A provider made the medium of a `task` at once: at `url`, or its bytes are in hand beside this."""

    task: UUID
    provider: str
    model: str
    modality: str
    mime: str
    url: str | None
    width: int | None
    height: int | None
    duration_seconds: float | None


def hand_in_kept(claim: Claim[Any]) -> bool:
    """Write what an earlier attempt at the job has had ordered or made; False if it kept no such thing."""
    if ordered := claim.hand.take_one(Ordered):
        _start(claim, ordered)
        return True
    if made := claim.hand.take_one(Made):
        _store(claim, made)
        return True
    return False


def hand_in(claim: Claim[Any], order: Order, task: UUID, result: Finished | Started) -> None:
    """Write what came of an order and end the claim; it is in hand from here on."""
    if isinstance(result, Started):
        ordered = Ordered(task, order.provider, order.model, result.task_id, result.poll_after_seconds)
        claim.hand.hold(ordered)
        _start(claim, ordered)
        return
    medium = result.media
    assert not medium.fetch_headers, "a medium that is fetched with a key comes from a task"
    made = Made(
        task,
        order.provider,
        order.model,
        order.modality,
        medium.mime,
        medium.url,
        medium.width,
        medium.height,
        medium.duration_seconds,
    )
    claim.hand.hold(made, content=medium.content)
    _store(claim, made)


def _start(claim: Claim[Any], ordered: Ordered) -> None:
    """End the claim only: the task's own message goes on, and holds no thread meanwhile."""
    longest_seconds = MAX_FIRST_POLL_INTERVALS * settings().media_poll_interval_ms / 1000
    poll_after_seconds = min(ordered.poll_after_seconds, longest_seconds)
    claim.finish(
        lambda tx: media_tasks.start_task(tx, ordered.task, ordered.task_id, poll_after_seconds),
        outcome="handed_over",
    )
    log.info("media task started", provider=ordered.provider, model=ordered.model)


def _store(claim: Claim[Any], made: Made) -> None:
    """Keep a medium that was made at once, and hand it in; a Storage that is away is waited for a while."""
    kind = cast(OwnerKind, claim.kind)
    media = Media(made.mime, made.url, claim.hand.content, made.width, made.height, made.duration_seconds)
    place = place_of(claim.database, kind, claim.job_id, is_task=False)
    is_late = claim.hand.kept_seconds >= settings().media_task_expiry_seconds
    try:
        stored = keep_link(media, made.modality) if is_late else keep(media, made.modality, place)
    except RetryLater as error:
        pause_seconds = min(MAX_STORING_PAUSE_SECONDS, 2.0 ** min(claim.attempt, 10))
        raise PutBack(error.code, error.message, after_seconds=pause_seconds) from None
    except GiveUp as error:
        claim.hand.drop()
        media_tasks.fail_rendering(claim.database, made.task, error)
        raise

    def complete_job(tx: cursor) -> None:
        made_by = {"provider": made.provider, "model": made.model}
        complete(tx, kind, claim.job_id, stored, made_by, settings().credits_per_usd)
        media_tasks.end_task(tx, made.task)

    claim.finish(complete_job)
    log.info("media stored", provider=made.provider, model=made.model, bytes=stored.bytes_count)
