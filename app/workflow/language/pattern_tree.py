"""What a parsed regular expression is made of; characters and places as in JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_DIGITS = frozenset("0123456789")
_LINE_ENDS = frozenset("\n\r\u2028\u2029")


@dataclass(frozen=True)
class Any:
    """One character out of a set of ranges and classes, or out of all others."""

    ranges: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ()
    negated: bool = False

    def takes(self, character: str) -> bool:
        """Whether the character is one of them."""
        found = any(low <= character <= high for low, high in self.ranges) or any(
            _in_class(character, name) for name in self.classes
        )
        return found is not self.negated


@dataclass(frozen=True)
class At:
    """A place between characters: `^`, `$`, a word boundary `b`, or none `B`."""

    place: Literal["^", "$", "b", "B"]

    def holds(self, text: str, position: int) -> bool:
        """Whether a position of a text is such a place."""
        if self.place == "^":
            return position == 0
        if self.place == "$":
            return position == len(text)
        before = position > 0 and text[position - 1] in _WORD
        after = position < len(text) and text[position] in _WORD
        return (before != after) is (self.place == "b")


@dataclass(frozen=True)
class Group:
    """Parts that follow each other, parts of which either will do, or one part that repeats."""

    kind: Literal["all", "either", "repeat"]
    parts: tuple[Tree, ...]
    least: int = 1
    most: int | None = 1


Tree: TypeAlias = Any | At | Group


def _in_class(character: str, name: str) -> bool:
    match name.lower():
        case "d":
            found = character in _DIGITS
        case "w":
            found = character in _WORD
        case "s":
            found = character.isspace() or character == "\ufeff"
        case _:  # "." written as a class: anything but the end of a line
            return character not in _LINE_ENDS
    return found is name.islower()
