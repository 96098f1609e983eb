"""Who pays for a thread's calls: asked before each of them goes out, with the most that it can take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True)
class Ceiling:
    """The most that one call can take: tokens either way, media or requests, and how long the media are."""

    tokens_in: int = 0
    tokens_out: int = 0
    units: int = 0
    seconds: float = 0.0


class Purse(Protocol):
    """What a thread's calls are paid from."""

    @property
    def max_output_tokens(self) -> int:
        """What bounds an answer whose job names no bound."""

    def hold(self, provider: str, model: str, key: str, ceiling: Ceiling) -> UUID | None:
        """Set aside what a call can cost; None where it costs nothing that counts.

        Raises `GiveUp` where the call can't be paid for, and `PutBack` where it may be later.
        """


_open: ContextVar[Purse | None] = ContextVar("purse", default=None)


@contextmanager
def paid_from(purse: Purse) -> Iterator[None]:
    """Pay for every call that this thread makes during the block."""
    before = _open.set(purse)
    try:
        yield
    finally:
        _open.reset(before)


def open_purse() -> Purse | None:
    """What this thread's calls are paid from; None where nobody counts what they cost."""
    return _open.get()
