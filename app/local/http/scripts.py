"""What a local server was told to do next, by whom or what it concerns."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Scripts(Generic[T]):
    """Queues by name; safe to use from every thread."""

    def __init__(self) -> None:
        self._queues: defaultdict[str, deque[T]] = defaultdict(deque)
        self._guard = threading.Lock()

    def add(self, name: str, steps: Iterable[T]) -> None:
        """Put steps at the end of a name's queue."""
        with self._guard:
            self._queues[name].extend(steps)

    def next(self, name: str) -> T | None:
        """Take the next step of a name, if there is one."""
        with self._guard:
            queue = self._queues.get(name)
            return queue.popleft() if queue else None
