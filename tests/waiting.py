"""Waiting for something to become true, with a deadline instead of a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: How long a test waits for what has to come: a busy machine takes its time, and only what hangs gets there.
PATIENCE_SECONDS = 60.0


def eventually(
    look: Callable[[], T], *, within_seconds: float = PATIENCE_SECONDS, what: str = "the condition"
) -> T:
    """Look until the answer is truthy and return it; an AssertionError tells what never came."""
    deadline = time.monotonic() + within_seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within_seconds:g} s; last seen: {seen!r}")
        time.sleep(0.01)
