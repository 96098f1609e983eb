"""The threads of one run, and the box into which all news of it is put."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from app.engine.tries import Parked, Tried
from app.platform.workflows import Verdict
from app.telemetry import span_of_thread, under_span
from app.workflow import NodeId


@dataclass(frozen=True)
class Trouble:
    """A try of a node met an error that is not the node's."""

    node_id: NodeId
    number: int
    error: BaseException


class ShutdownBegun:
    """The process is about to end."""


News = Tried | Parked | Trouble | Verdict | ShutdownBegun


class Crew:
    """Starts a thread for each try of a node; what comes of it arrives in the box.

    The threads are daemons: a model that answers late keeps neither the run nor the process from ending.
    """

    def __init__(self) -> None:
        self._box: queue.SimpleQueue[News] = queue.SimpleQueue()

    def tell(self, news: News) -> None:
        """Put news into the box."""
        self._box.put(news)

    def set_to(self, node_id: NodeId, number: int, work: Callable[[], Tried | Parked]) -> None:
        """Have a thread do the work of a try and tell of it."""
        context, span = structlog.contextvars.get_contextvars(), span_of_thread()

        def do() -> None:
            with structlog.contextvars.bound_contextvars(**context), under_span(span):
                try:
                    self.tell(work())
                except BaseException as error:
                    self.tell(Trouble(node_id, number, error))

        threading.Thread(target=do, name="workflow node", daemon=True).start()

    def await_news(self, timeout_seconds: float) -> list[News]:
        """All news there are, after waiting for the first; none if the time is up."""
        try:
            found = [self._box.get(timeout=max(timeout_seconds, 0.0))]
        except queue.Empty:
            return []
        while not self._box.empty():
            found.append(self._box.get_nowait())
        return found
