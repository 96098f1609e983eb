"""Going on with a provider's task: ask once how far it is, and hand in what came of it."""

from __future__ import annotations

import random
from functools import partial
from typing import NoReturn

import structlog
from psycopg2.extensions import cursor

from app.claims import Claim
from app.errors import GiveUp, JobError, PutBack, RetryLater
from app.media.keeping import keep, keep_link
from app.platform import keys, media_tasks
from app.platform.battles import SUBMISSION_MAX_CHARS
from app.platform.media import MediaTask, Stored, complete, complete_battle_text, place_of
from app.providers import chainabit
from app.providers import media as providers
from app.providers.chainabit import Answered
from app.providers.media import Media, Pending, Task
from app.settings import settings

log = structlog.get_logger(__name__)

#: The time between polls grows by this factor, to this many times the first.
GROWTH, GROWN = 1.3, 4.0

#: Jitter, so that many tasks started at once are not asked for at once.
SHORTEST, LONGEST = 0.8, 1.2

#: A provider may not know its own newest task yet; a denial is believed as a repeated one, after so many
#: polls in a row that found nothing out.
BELIEVED_DENIALS = 5

#: A provider that asks for a longer pause is asked again after this.
MAX_PAUSE_SECONDS = 600.0


def collect(claim: Claim[MediaTask]) -> None:
    """Ask for a task once; hand its result in, or put the claim back until the next time.

    Errors that may pass are no end: only the task's expiry is. Raises `PutBack`, or `GiveUp` at the end.
    """
    task = claim.job
    result = claim.hand.take_one(Answered) or claim.hand.take_one(Stored) or _fetch(claim)
    claim.finish(partial(_hand_in, task, result))
    if isinstance(result, Stored):
        log.info("media stored", provider=task.provider, model=task.model, bytes=result.bytes_count)


def _fetch(claim: Claim[MediaTask]) -> Answered | Stored:
    """What the task came to, in hand; raises `PutBack` until it is there."""
    made = _ask(claim)
    if isinstance(made, Pending):
        _put_back(claim, None, made.after_seconds)
    result = made if isinstance(made, Answered) else _keep(claim, made.media)
    claim.hand.hold(result)
    return result


def _hand_in(task: MediaTask, result: Answered | Stored, tx: cursor) -> None:
    if isinstance(result, Answered):
        complete_battle_text(tx, task.job, result.text[:SUBMISSION_MAX_CHARS])
    else:
        made_by = {"provider": task.provider, "model": task.model}
        complete(tx, task.owner_kind, task.job, result, made_by, settings().credits_per_usd)
    media_tasks.end_task(tx, task.id)


def _ask(claim: Claim[MediaTask]) -> Pending | providers.Finished | Answered:
    task = claim.job
    seconds = settings().provider_timeout_ms / 1000
    try:
        if task.provider == "chainabit":
            return chainabit.poll(task.task_id, deadline_seconds=seconds)
        key = keys.for_task(claim.database, settings(), task.byok_key_id, task.provider)
        asked = Task(task.provider, task.wire_model, task.modality, task.task_id)
        return providers.poll(asked, key=key, deadline_seconds=seconds)
    except RetryLater as error:
        _put_back(claim, error, error.after_seconds)
    except GiveUp as error:
        if error.code.endswith(".model_not_found"):
            _doubt(claim, error)
        raise


def _keep(claim: Claim[MediaTask], media: Media) -> Stored:
    """Keep the medium; when that fails for too long, the provider's own link has to do."""
    task = claim.job
    place = place_of(claim.database, task.owner_kind, task.job, is_task=True)
    try:
        return keep(media, task.modality, place)
    except RetryLater as error:
        if task.has_expired:
            return keep_link(media, task.modality)
        _put_back(claim, error, error.after_seconds)


def _doubt(claim: Claim[MediaTask], error: GiveUp) -> NoReturn:
    if claim.job.failures + 1 >= BELIEVED_DENIALS and claim.job.error_code == error.code:
        raise GiveUp("provider.task_not_found", "the provider does not know the task")
    _put_back(claim, error, None)


def _put_back(claim: Claim[MediaTask], error: JobError | None, suggested_seconds: float | None) -> NoReturn:
    task = claim.job
    polls, failures = media_tasks.note_poll(claim.database, task.id, error)
    if task.has_expired:
        code = "chainabit.timed_out" if task.provider == "chainabit" else "provider.task_expired"
        last = f"; the last poll ended in {error.code}" if error else ""
        raise GiveUp(code, f"the task was not finished in time{last}")
    pause_seconds = _pause_seconds(task.provider, polls, failures, suggested_seconds)
    if error:
        log.info("poll found nothing out", code=error.code, reason=error.message, failures=failures)
    raise PutBack(error.code if error else "media.pending", "", after_seconds=pause_seconds)


def _pause_seconds(provider: str, polls: int, failures: int, suggested_seconds: float | None) -> float:
    """Time until the next poll: growing with every one, a wait that the provider named at least."""
    if provider == "chainabit":
        first_seconds, grown = settings().chainabit_poll_interval_ms / 1000, 1.0
    else:
        first_seconds, grown = settings().media_poll_interval_ms / 1000, GROWN
    factor = min(GROWTH ** min(polls + 2 * failures, 20), max(grown, float(failures > 0) * GROWN))
    jitter = random.uniform(SHORTEST, LONGEST)  # noqa: S311 - jitter, not a secret
    asked_seconds = min(suggested_seconds or 0.0, MAX_PAUSE_SECONDS)
    return max(first_seconds * factor * jitter, asked_seconds)
