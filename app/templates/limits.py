"""How much one template may cost, and the buffer that holds its output to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO

from app.errors import GiveUp


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rendering may use before it fails with `template.limit_exceeded`."""

    #: Longest Liquid source, in characters (`template.too_large`): the lexer is slow on hostile ones.
    source_characters: int = 16 * 1024
    #: Longest output, and longest text a filter takes or gives.
    text_characters: int = 1024 * 1024
    #: Most characters that `assign` and `capture` may hold at once.
    variable_characters: int = 4 * 1024 * 1024
    #: Longest list or range that is looped over or filtered.
    items: int = 10_000
    #: Iterations of all loops together; a nested loop counts each time it is entered.
    loop_iterations: int = 20_000
    #: Widest whole number that arithmetic takes or gives.
    number_bits: int = 4096
    #: Wall-clock time of one rendering.
    seconds: float = 1.0


DEFAULT_LIMITS = Limits()


def limit_exceeded(what: str) -> GiveUp:
    """The error of a template that costs more than it may."""
    return GiveUp("template.limit_exceeded", what)


class Deadline:
    """A point in time after which every check fails."""

    __slots__ = ("_ends_at", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds

    def check(self) -> None:
        """Raise `GiveUp` once the time is over."""
        if time.monotonic() > self._ends_at:
            raise limit_exceeded(f"the template renders for longer than {self._seconds:g} s")


class BoundedText(StringIO):
    """Text that grows no longer than a limit, and no later than a deadline."""

    def __init__(self, limit_characters: int, check_time: Callable[[], None]) -> None:
        super().__init__(newline="")  # any other setting might rewrite the line ends of values
        self._limit_characters = limit_characters
        self._check_time = check_time
        self._length_characters = 0

    def write(self, text: str) -> int:
        """Append `text`; raises `GiveUp` when that is too much or too late."""
        self._check_time()
        self._length_characters += len(text)
        if self._length_characters > self._limit_characters:
            raise limit_exceeded(f"the template writes more than {self._limit_characters} characters")
        return super().write(text)
