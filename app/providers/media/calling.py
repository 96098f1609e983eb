"""One call to a media provider: pick its module, call under a deadline, judge what it ended in."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import cast

from pydantic import SecretStr

from app.calls import measured
from app.errors import GiveUp, JobError
from app.http.deadline import total_deadline
from app.providers.attempts import attempt, checked_key, judge_call
from app.providers.base import File, Model
from app.providers.fate import may_be_taken
from app.providers.keys import key_ref, needs_key
from app.providers.media.base import (
    NO_WISHES,
    Finished,
    MediaModule,
    Order,
    Pending,
    RecoverModule,
    Started,
    SubmissionUnknown,
    Task,
    TaskModule,
    Wishes,
)
from app.providers.media.ceilings import ceiling_of_order
from app.settings import settings

_MODULES = {
    ("openai", "image"): "openai_images",
    ("openai", "video"): "openai_videos",
    ("google", "image"): "google_images",
    ("google", "video"): "google_operations",
    ("google", "music"): "google_operations",
    ("google", "audio"): "google_operations",
    ("stability", "image"): "stability",
    ("elevenlabs", "audio"): "elevenlabs",
    ("kling", "video"): "kling",
    ("suno", "music"): "suno",
    ("suno", "audio"): "suno",
}


def check_order(model: Model, wishes: Wishes, *, has_source: bool) -> None:
    """Raise `GiveUp` where the model's provider can't be told all that is ordered: nothing is left out."""
    provider = "echo" if settings().echo_provider else model.provider
    module = _module(provider, model.kind)
    unheard = sorted(wishes.named - module.HONOURS)
    if unheard:
        raise GiveUp("provider.invalid_request", f"the worker can't tell {provider} {', '.join(unheard)}")
    if has_source and not getattr(module, "TAKES_SOURCE", False):
        raise GiveUp("provider.modality_unsupported", f"the worker can't have {provider} change a medium")


def submit(
    model: Model,
    prompt_text: str,
    *,
    key: SecretStr,
    deadline_seconds: float,
    idempotency_key: str,
    wishes: Wishes = NO_WISHES,
    source: File | None = None,
) -> Finished | Started:
    """Send one order to the model's provider, once.

    `idempotency_key` is the job's: where a provider honours such a key it gets it. Raises `RetryLater` and
    `GiveUp` when the provider did not take the order, and `SubmissionUnknown` when nobody can tell.
    """
    provider = "echo" if settings().echo_provider else model.provider
    module = _module(provider, model.kind)
    secret = checked_key(key, provider)
    check_order(model, wishes, has_source=source is not None)
    order = Order(model, prompt_text, idempotency_key, wishes, source)

    def judge(error: Exception) -> JobError:
        judged = judge_call(error, provider, secret)
        return SubmissionUnknown(judged.message) if may_be_taken(error) else judged

    ceiling = partial(ceiling_of_order, order) if needs_key(provider) else None
    with (
        measured(provider, model.key, "order", key_ref(key), ceiling=ceiling) as call,
        total_deadline(deadline_seconds),
    ):
        taken = attempt(lambda: module.submit(order, secret, deadline_seconds), judge)
        call.units, call.seconds = 1, taken.seconds
        if isinstance(taken, Finished):
            call.tokens_in, call.tokens_out = taken.tokens_in, taken.tokens_out
    return taken


def poll(task: Task, *, key: SecretStr, deadline_seconds: float) -> Pending | Finished:
    """Ask a provider once how far a task is.

    Raises `GiveUp` when the task failed, and `RetryLater` when this poll found nothing out.
    """
    provider = "echo" if settings().echo_provider else task.provider
    module = cast(TaskModule, _module(provider, task.kind))
    if not hasattr(module, "poll"):
        raise GiveUp("provider.modality_unsupported", f"{provider} makes {task.kind} at once, not as tasks")
    secret = checked_key(key, provider)
    with measured(provider, task.wire_model, "poll"), total_deadline(deadline_seconds):
        return attempt(
            lambda: module.poll(task, secret, deadline_seconds),
            lambda error: judge_call(error, provider, secret),
        )


def can_recover(model: Model) -> bool:
    """Whether the model's provider can tell afterwards if it took an order."""
    return not settings().echo_provider and hasattr(_module(model.provider, model.kind), "recover")


def recover(
    model: Model,
    *,
    key: SecretStr,
    deadline_seconds: float,
    idempotency_key: str,
    wishes: Wishes = NO_WISHES,
) -> Started | None:
    """The task that an order of unknown fate became, or None when the provider never took it.

    Raises `SubmissionUnknown` where the provider can't be asked, `RetryLater` where it did not answer.
    """
    if not can_recover(model):
        raise SubmissionUnknown("the process that sent it ended before the provider answered")
    module = cast(RecoverModule, _module(model.provider, model.kind))
    secret = checked_key(key, model.provider)
    order = Order(model, "", idempotency_key, wishes)
    with measured(model.provider, model.key, "order", key_ref(key)) as call, total_deadline(deadline_seconds):
        found = attempt(
            lambda: module.recover(order, secret, deadline_seconds),
            lambda error: judge_call(error, model.provider, secret),
        )
        if found:
            call.units, call.seconds = 1, found.seconds
    return found


def _module(provider: str, kind: str) -> MediaModule:
    name = provider if provider in {"echo", "fal"} else _MODULES.get((provider, kind))
    if name is None:
        raise GiveUp("provider.modality_unsupported", f"the worker can't have {provider!r} make {kind}")
    return cast(MediaModule, import_module(f"app.providers.media.{name}"))
