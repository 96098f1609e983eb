"""The state of one rendering: its data, its tokens and what it has used up."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import TextIO

from liquid import BoundTemplate, RenderContext
from liquid.token import Token
from liquid.undefined import UNDEFINED
from liquid.utils import ReadOnlyChainMap

from app.templates.limits import BoundedText, Deadline, Limits, limit_exceeded
from app.templates.tokens import Tokens


class GuardedContext(RenderContext):
    """A render context that ends a template which takes too long, loops too often or holds too much."""

    __slots__ = ("_deadline", "_held_characters", "_iterations", "_sizes", "limits", "tokens")

    def __init__(
        self, template: BoundTemplate, *, data: Mapping[str, object], tokens: Tokens, limits: Limits
    ) -> None:
        super().__init__(template, globals=data)
        # The library adds variables `now` and `today`; an input that is missing must not find them.
        self.scope = ReadOnlyChainMap(self.locals, data, self.counters)
        self.tokens = tokens
        self.limits = limits
        self._deadline = Deadline(limits.seconds)
        self._iterations = 0
        self._sizes: dict[str, int] = {}
        self._held_characters = 0

    @property
    def disabled_tags(self) -> list[str]:
        """Always empty. Every node reads it before it renders, so the clock is watched here."""
        self.check_time()
        return []

    @disabled_tags.setter
    def disabled_tags(self, tags: list[str]) -> None:
        assert not tags, "tags are disabled by leaving them out of the environment"

    def check_time(self) -> None:
        """Raise `GiveUp` if the rendering has used up its time."""
        self._deadline.check()

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        """Look a variable up."""
        self.check_time()
        return super().get(path, token=token, default=default)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        """A new buffer, as long as any output may be."""
        return BoundedText(self.limits.text_characters, self.check_time)

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count a loop of `length` iterations when it is entered."""
        self._iterations += length
        if self._iterations > self.limits.loop_iterations:
            raise limit_exceeded(f"the template loops more than {self.limits.loop_iterations} times")

    def assign(self, key: str, val: object) -> None:
        """Keep a variable, if all variables together aren't too large then."""
        size = _size_characters(val)
        self._held_characters += size - self._sizes.get(key, 0)
        if self._held_characters > self.limits.variable_characters:
            most = self.limits.variable_characters
            raise limit_exceeded(f"the template's variables hold more than {most} characters")
        self._sizes[key] = size
        super().assign(key, val)

    def cycle(self, key: object, length: int) -> int:
        """The library keeps every key, which may be of any length; its hash is enough."""
        return super().cycle(hash(key), length)


def _size_characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(8 + (len(item) if isinstance(item, str) else 0) for item in value)
    return 0
