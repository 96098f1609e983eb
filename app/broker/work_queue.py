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
        self._not_empty = threading.Condition(threading.Lock())
        self._waiting = 0
        self._unfinished = 0
        self._all_done = threading.Condition(threading.Lock())

    @property
    def unfinished_tasks(self) -> int:
        """Items put in and not reported as done."""
        return self._unfinished

    def put(self, item: Any) -> None:
        """Add an item."""
        with self._all_done:
            self._unfinished += 1
        self._items.append(item)
        # Whoever begins to wait counts itself first and looks once more, so nobody is overlooked here.
        if self._waiting:
            with self._not_empty:
                self._not_empty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The oldest item; raises queue.Empty when none comes in time."""
        try:
            return self._items.popleft()
        except IndexError:
            if not block:
                raise Empty from None
        with self._not_empty:
            self._waiting += 1
            try:
                if self._not_empty.wait_for(lambda: self._items, timeout):
                    return self._items.popleft()
            except IndexError:
                pass  # a thread that did not wait was faster
            finally:
                self._waiting -= 1
        raise Empty

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
