"""Remember what was looked up once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Memo(Generic[Key, Value]):
    """What was loaded once is known from then on, to all threads; a failure isn't remembered."""

    def __init__(self, load: Callable[[Key], Value]) -> None:
        self._load = load
        self._known: dict[Key, Value] = {}
        self._guard = threading.Lock()

    def __call__(self, key: Key) -> Value:
        """The value of a key; raises whatever loading it raises."""
        with self._guard:
            if key not in self._known:
                self._known[key] = self._load(key)
            return self._known[key]
