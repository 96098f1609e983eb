"""The queue between a process's consumers and its threads."""

from __future__ import annotations

import threading
from collections import deque
from queue import Empty
from typing import Any


class WorkQueue:
    """First in, first out, and lighter than the priority queue that Dramatiq's worker makes.

    Priorities have been settled in the table by then: what is here is for the next free threads. Only the
    methods that Dramatiq's worker calls are there. (queue.SimpleQueue is lighter still, but in CPython 3.11
    a get with a timeout can wait for ever when several threads share the queue.)
    """

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._unfinished = 0
        lock = threading.Lock()
        self._not_empty = threading.Condition(lock)
        self._all_done = threading.Condition(lock)

    @property
    def unfinished_tasks(self) -> int:
        """Items put in and not reported as done."""
        return self._unfinished

    def put(self, item: Any) -> None:
        """Add an item."""
        with self._not_empty:
            self._unfinished += 1
            self._items.append(item)
            self._not_empty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The oldest item; raises queue.Empty when none comes in time."""
        with self._not_empty:
            if not self._not_empty.wait_for(lambda: self._items, timeout if block else 0):
                raise Empty
            return self._items.popleft()

    def get_nowait(self) -> Any:
        """The oldest item, or queue.Empty."""
        return self.get(block=False)

    def task_done(self) -> None:
        """Report that an item is done with."""
        with self._all_done:
            self._unfinished -= 1
            if not self._unfinished:
                self._all_done.notify_all()

    def join(self) -> None:
        """Wait until every item is done with."""
        with self._all_done:
            self._all_done.wait_for(lambda: not self._unfinished)
