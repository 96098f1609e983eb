"""The queue between a process's consumers and its threads."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any


class WorkQueue:
    """First in, first out, and several times faster than the priority queue that Dramatiq's worker makes.

    Priorities have been settled in the table by then: what is here is for the next free threads. Only the
    methods that Dramatiq's worker calls are there.
    """

    def __init__(self) -> None:
        self._items: SimpleQueue[Any] = SimpleQueue()
        self._unfinished = 0
        self._changed = threading.Condition()

    @property
    def unfinished_tasks(self) -> int:
        """Items put in and not reported as done."""
        return self._unfinished

    def put(self, item: Any) -> None:
        """Add an item."""
        with self._changed:
            self._unfinished += 1
        self._items.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The oldest item; raises queue.Empty when none comes in time."""
        return self._items.get(block, timeout)

    def get_nowait(self) -> Any:
        """The oldest item, or queue.Empty."""
        return self._items.get_nowait()

    def task_done(self) -> None:
        """Report that an item is done with."""
        with self._changed:
            self._unfinished -= 1
            if not self._unfinished:
                self._changed.notify_all()

    def join(self) -> None:
        """Wait until every item is done with."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unfinished)
