"""What jobs tell of themselves; without a recorder nothing is kept, and nothing of OpenTelemetry imported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.calls import Call, observe_calls


@dataclass
class JobRecord:
    """One attempt at one job.

    `waited_seconds` is the time from the ticket to this attempt, by two hosts' clocks; None unless it is the
    first attempt. `outcome` is what the claim ended in, or `waiting`, `stale` or `interrupted`.
    """

    kind: str
    queue: str
    message_id: str
    job_id: str
    attempt: int
    waited_seconds: float | None
    outcome: str = "interrupted"
    error_code: str | None = None
    began: float = field(default_factory=time.monotonic)


class Recorder(Protocol):
    """Where the records go."""

    def begin(self, job: JobRecord) -> Any:
        """Begin the span of an attempt."""

    def end(self, span: Any, job: JobRecord) -> None:
        """End the span, and count the attempt."""

    def add_call(self, span: Any, call: Call) -> None:
        """Add a call that has just ended to the span, if there is one, and count it."""


@dataclass(frozen=True)
class _Open:
    job: JobRecord
    span: Any


_recorder: Recorder | None = None
_stop_observing: Callable[[], None] | None = None
# Not OpenTelemetry's own context: what AI SDKs find there, they send to the providers as headers.
_open: ContextVar[_Open | None] = ContextVar("open_span", default=None)


def record_to(recorder: Recorder | None) -> None:
    """Send the process's records there from now on; None ends it."""
    global _recorder, _stop_observing  # noqa: PLW0603 - one per process, like its broker
    if _stop_observing is not None:
        _stop_observing()
    _recorder = recorder
    _stop_observing = None if recorder is None else observe_calls(_add_call)


@contextmanager
def job_span(job: JobRecord) -> Iterator[None]:
    """The span of an attempt; calls that the thread makes during the block are below it."""
    recorder = _recorder
    if recorder is None:
        yield
        return
    opened = _Open(job, recorder.begin(job))
    before = _open.set(opened)
    try:
        yield
    finally:
        _open.reset(before)
        recorder.end(opened.span, job)


def settled(outcome: str, error_code: str | None = None) -> None:
    """What the attempt that this thread is at came to; the last word counts."""
    if opened := _open.get():
        opened.job.outcome, opened.job.error_code = outcome, error_code


def span_of_thread() -> Any:
    """What `under_span` takes in a thread that helps this one."""
    return _open.get()


@contextmanager
def under_span(span: Any) -> Iterator[None]:
    """Put calls that this thread makes during the block below another thread's span."""
    before = _open.set(span)
    try:
        yield
    finally:
        _open.reset(before)


def _add_call(call: Call) -> None:
    if _recorder is not None:
        opened = _open.get()
        _recorder.add_call(opened.span if opened else None, call)
