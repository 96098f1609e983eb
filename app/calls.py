"""Calls to AI providers as they are written down: who was asked, how long it took, how it ended.

A call is measured where it is made and collected by whoever does the work around it, which writes it to
worker.provider_calls in the transaction that it writes anyway.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from psycopg2.extras import Json

from app.errors import JobError
from app.purse import Ceiling, open_purse

#: What a provider was asked for: a text, a medium, or how far a medium is.
Purpose = Literal["answer", "order", "poll"]

#: What stands for the platform's own key.
PLATFORM_KEY = "platform"
#: The code of a call that ended in an error of ours.
UNFORESEEN = "worker.internal_error"


@dataclass
class Call:
    """One request to a provider; `ended` is on this process's monotonic clock, in seconds.

    `tokens_in` are all tokens of the prompt and `tokens_out` all that the model made, whatever each provider
    counts among them: of the former `tokens_cached` were read from the provider's cache and
    `tokens_cache_write` written to it, of the latter `tokens_reasoning` were thinking. `units` are the media
    that were bought, `seconds` how long they are together, or a recording that was read.

    `key` is the stored key's id, or `platform`, never the key. `limit_headers` are those of the answer that
    speak of limits.
    """

    provider: str
    model: str
    purpose: Purpose
    key: str = PLATFORM_KEY
    ended: float = 0.0
    duration_ms: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens_cache_write: int = 0
    tokens_reasoning: int = 0
    units: int = 0
    seconds: float | None = None
    error_code: str | None = None
    failure: JobError | None = None
    limit_headers: Mapping[str, str] = field(default_factory=dict)
    #: What is set aside for it, and whether it certainly cost nothing.
    hold: UUID | None = None
    is_free: bool = False
    #: Whose job made it, where that is known.
    owner: str | None = None
    #: The ticket of the place that it took under a limit, unless a message stands for it.
    passage: UUID | None = None


_observers: tuple[Callable[[Call], None], ...] = ()
_observers_guard = threading.Lock()


def observe_calls(observe: Callable[[Call], None]) -> Callable[[], None]:
    """Have every call told that ends in this process, in its own thread; returns what ends that.

    Observers know nothing of each other: each is added and removed by itself.
    """
    global _observers  # noqa: PLW0603 - replaced as a whole, so that calls that end meanwhile see one or the other
    with _observers_guard:
        _observers = (*_observers, observe)

    def stop() -> None:
        global _observers  # noqa: PLW0603
        with _observers_guard:
            _observers = tuple(other for other in _observers if other is not observe)

    return stop


@dataclass(frozen=True)
class _Collection:
    calls: list[Call]
    owner: str | None


_collected: ContextVar[_Collection | None] = ContextVar("collected_calls", default=None)


@contextmanager
def collect_calls(into: list[Call], owner: str | None = None) -> Iterator[None]:
    """Add every call that this thread makes during the block to a list, as the owner's."""
    before = _collected.set(_Collection(into, owner))
    try:
        yield
    finally:
        _collected.reset(before)


def unsettled_calls() -> list[Call]:
    """The calls that are collected on this thread for which something is still set aside."""
    collection = _collected.get()
    return [call for call in tuple(collection.calls) if call.hold] if collection else []


@contextmanager
def measured(
    provider: str,
    model: str,
    purpose: Purpose,
    key: str = PLATFORM_KEY,
    *,
    ceiling: Callable[[], Ceiling] | None = None,
) -> Iterator[Call]:
    """Measure the call made in the block, which adds the tokens itself; an error's code is kept.

    `ceiling` is the most that the call can take; without one it costs nothing. Raises, before anything is
    sent, what the open purse does: `GiveUp` where it can't be paid for, `PutBack` where it can't be yet.
    """
    collection = _collected.get()
    call = Call(provider, model, purpose, key, owner=collection.owner if collection else None)
    purse = open_purse()
    if ceiling and purse:
        call.hold = purse.hold(provider, model, key, ceiling())
    began = time.monotonic()
    try:
        yield call
    except JobError as error:
        call.error_code, call.failure = error.code, error
        call.is_free = error.costs_nothing
        raise
    except BaseException:
        call.error_code = UNFORESEEN
        raise
    finally:
        call.ended = time.monotonic()
        call.duration_ms = round((call.ended - began) * 1000)
        if collection is not None:
            collection.calls.append(call)
        for observe in _observers:
            observe(call)


def call_parameters(calls: Sequence[Call]) -> Json | None:
    """Calls as worker.note_calls takes them; their time is told as an age, since clocks differ."""
    if not calls:
        return None
    now = time.monotonic()
    return Json(
        [
            {
                "provider": call.provider,
                "model": call.model,
                "purpose": call.purpose,
                "age_ms": round((now - call.ended) * 1000),
                "duration_ms": call.duration_ms,
                "tokens_in": call.tokens_in,
                "tokens_out": call.tokens_out,
                "tokens_cached": call.tokens_cached,
                "tokens_cache_write": call.tokens_cache_write,
                "tokens_reasoning": call.tokens_reasoning,
                "units": call.units,
                "seconds": call.seconds,
                "error_code": call.error_code,
                **_settlement(call),
                **({"passage": str(call.passage)} if call.passage else {}),
            }
            for call in calls
        ]
    )


def _settlement(call: Call) -> dict[str, str | bool]:
    """What is set aside for a call, if anything is, and whether all of it comes back."""
    return {"hold": str(call.hold), "is_free": call.is_free} if call.hold else {}
