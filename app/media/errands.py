"""Beginning a job's medium: ordered once, however often the job's worker dies.

What is ordered is written down before the order goes out and again when the provider has answered. An
attempt that finds an order without an answer can't know whether it was taken, and paid: it asks the
provider where that is possible and gives up where it isn't, but never orders again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from app.claims import Claim
from app.errors import GiveUp, JobError, PutBack, RetryLater, StaleClaim
from app.media.handing_in import hand_in
from app.platform import media_tasks
from app.platform.media_tasks import Order
from app.providers import File, Model, Prompt, chainabit
from app.providers import media as providers
from app.providers.media import NO_WISHES, Finished, Started, SubmissionUnknown, Wishes
from app.settings import settings

#: Before a provider is asked what became of an order, so that one still on its way arrives first.
RECOVERY_PAUSE_SECONDS = 5.0


@dataclass(frozen=True)
class Errand:
    """An order and how to place it. `recover` finds out what became of one of unknown fate."""

    order: Order
    submit: Callable[[], Finished | Started]
    recover: Callable[[], Started | None]
    can_recover: bool = False


def make(
    claim: Claim[Any],
    model: Model,
    prompt: Prompt,
    *,
    key: SecretStr,
    byok_key_id: UUID | None,
    wishes: Wishes = NO_WISHES,
    source: File | None = None,
) -> None:
    """Have the medium of a claimed job made, of another one where there is a source, and end the claim.

    A provider that answers with the medium ends the job here. One that answers with a task ends only the
    claim: the task's own message goes on, and holds no thread meanwhile. Raises `JobError`s.
    """
    seconds = settings().provider_timeout_ms / 1000
    reference = str(claim.job_id)
    order = Order(
        model.provider,
        model.key,
        model.wire_model,
        model.kind,
        byok_key_id,
        settings().media_task_expiry_seconds,
    )
    errand = Errand(
        order,
        lambda: providers.submit(
            model,
            _as_one_text(prompt),
            key=key,
            deadline_seconds=seconds,
            idempotency_key=reference,
            wishes=wishes,
            source=source,
        ),
        lambda: providers.recover(
            model, key=key, deadline_seconds=seconds, idempotency_key=reference, wishes=wishes
        ),
        providers.can_recover(model),
    )
    _run(claim, errand)


def delegate(claim: Claim[Any], session: chainabit.Session, *, key: SecretStr) -> None:
    """Have a battle's job executed by Chainabit, and end the claim; the session's own message goes on."""
    seconds = settings().provider_timeout_ms / 1000
    expires_seconds = settings().chainabit_timeout_ms / 1000
    order = Order("chainabit", session.model_key, session.model_key, "text", None, expires_seconds)

    def recover() -> Started | None:
        raise SubmissionUnknown("its sender ended before the answer came", "chainabit.submission_unknown")

    _run(
        claim,
        Errand(
            order,
            lambda: chainabit.submit(session, contender_key=key, deadline_seconds=seconds),
            recover,
        ),
    )


def _run(claim: Claim[Any], errand: Errand) -> None:
    begun = media_tasks.begin_submission(claim, errand.order)
    if begun.verdict == "stale":
        raise StaleClaim
    if begun.verdict == "started":
        claim.finish(outcome="handed_over")
        return
    place = _submit if begun.verdict == "submit" else _recover
    hand_in(claim, errand.order, begun.task, place(claim, errand, begun.task))


def _submit(claim: Claim[Any], errand: Errand, task: UUID) -> Finished | Started:
    try:
        return errand.submit()
    except SubmissionUnknown as error:
        if errand.can_recover:
            # The record stays open, and so does the claim: its next attempt asks the provider.
            raise PutBack(error.code, error.message, after_seconds=RECOVERY_PAUSE_SECONDS) from None
        media_tasks.end_submission(claim.database, task, "unknown", error)
        raise
    except JobError as error:
        media_tasks.end_submission(claim.database, task, "rejected", error)
        raise


def _recover(claim: Claim[Any], errand: Errand, task: UUID) -> Started:
    try:
        found = errand.recover()
    except GiveUp as error:
        media_tasks.end_submission(claim.database, task, "unknown", error)
        raise
    if found is not None:
        return found
    lost = RetryLater("provider.submission_lost", "the provider never got the order, so it is sent again")
    media_tasks.end_submission(claim.database, task, "rejected", lost)
    raise lost


def _as_one_text(prompt: Prompt) -> str:
    """The prompt as media models take it: they know no system message, so it frames the task."""
    if not prompt.system:
        return prompt.text
    return (
        f"Make this the way the following character would imagine it.\n{prompt.system}\n\nMake: {prompt.text}"
    )
