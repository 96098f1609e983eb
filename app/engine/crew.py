"""The threads of one run, and the box into which all news of it is put."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from app.platform.workflows import Verdict
from app.telemetry import span_of_thread, under_span

#: What stands for a piece of work, and what comes of it.
Work = TypeVar("Work")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Trouble(Generic[Work]):
    """Work met an error that is not its own affair."""

    work: Work
    error: BaseException


class ShutdownBegun:
    """The process is about to end."""


News = Trouble[Work] | Verdict | ShutdownBegun


class Crew(Generic[Work, Done]):
    """Starts a thread for each piece of work; what comes of it arrives in the box.

    The threads are daemons: a model that answers late keeps neither the run nor the process from ending.
    """

    def __init__(self) -> None:
        self._box: queue.SimpleQueue[Done | News[Work]] = queue.SimpleQueue()
        self._hear_late: Callable[[Done | News[Work]], None] | None = None
        self._guard = threading.Lock()

    def tell(self, news: Done | News[Work]) -> None:
        """Put news into the box, or tell whoever hears what comes too late for it."""
        with self._guard:
            if self._hear_late is None:
                self._box.put(news)
                return
        self._hear_late(news)

    def dismiss(self, hear_late: Callable[[Done | News[Work]], None]) -> None:
        """Nobody awaits news any more: what is told from here on, and what is left, goes to `hear_late`."""
        with self._guard:
            self._hear_late = hear_late
        while not self._box.empty():
            hear_late(self._box.get_nowait())

    def set_to(self, work: Work, do_it: Callable[[], Done]) -> None:
        """Have a thread do the work and tell of it."""
        context, span = structlog.contextvars.get_contextvars(), span_of_thread()

        def do() -> None:
            with structlog.contextvars.bound_contextvars(**context), under_span(span):
                try:
                    self.tell(do_it())
                except BaseException as error:
                    self.tell(Trouble(work, error))

        threading.Thread(target=do, name="work on a run", daemon=True).start()

    def await_news(self, timeout_seconds: float) -> list[Done | News[Work]]:
        """All news there are, after waiting for the first; none if the time is up."""
        try:
            found = [self._box.get(timeout=max(timeout_seconds, 0.0))]
        except queue.Empty:
            return []
        while not self._box.empty():
            found.append(self._box.get_nowait())
        return found
