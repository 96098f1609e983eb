"""Tells the runs of this process that it is about to end, so that they finish what is at work and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dramatiq
from dramatiq.middleware import Middleware

_guard = threading.Lock()
_listeners: set[Callable[[], None]] = set()
_begun = threading.Event()


class ShutdownNotices(Middleware):
    """Notices when the process's worker is told to stop; running jobs still get their time then."""

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Tell everybody who listens."""
        with _guard:
            _begun.set()
            listeners = list(_listeners)
        for tell in listeners:
            tell()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """A process that isn't over, such as a test, may have another worker."""
        _begun.clear()


@contextmanager
def told_of_shutdown(tell: Callable[[], None]) -> Iterator[None]:
    """Have `tell` called once if a shutdown begins during the block, or at once if it has begun already."""
    with _guard:
        _listeners.add(tell)
        late = _begun.is_set()
    if late:
        tell()
    try:
        yield
    finally:
        with _guard:
            _listeners.discard(tell)
