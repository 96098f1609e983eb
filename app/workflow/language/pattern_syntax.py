"""Parse the part of JavaScript's regular expressions that can be matched without backtracking."""

from __future__ import annotations

import re
from typing import NoReturn

from app.workflow.language.pattern_tree import Any, At, Group, Tree

#: Longest pattern, in characters, and deepest nesting of its groups.
LONGEST_CHARACTERS = 1000
DEEPEST_GROUPS = 40

_COUNTS = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")
_GROUP_START = re.compile(r"\((?:\?:|\?<[A-Za-z_]\w*>|(?!\?))")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}


class BadPatternError(ValueError):
    """A pattern is malformed, too large, or needs backtracking."""


def parse_pattern(pattern: str) -> Tree:
    """The tree of a pattern; raises `BadPatternError`."""
    if len(pattern) > LONGEST_CHARACTERS:
        raise BadPatternError("the pattern is too long")
    parser = _Parser(pattern)
    tree = parser.either()
    if parser.position < len(pattern):
        parser.fail("unexpected ')'")
    return tree


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.depth = 0

    def fail(self, problem: str) -> NoReturn:
        raise BadPatternError(f"character {self.position + 1}: {problem}")

    def peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def take(self) -> str:
        character = self.peek() or self.fail("the pattern ends too early")
        self.position += 1
        return character

    def either(self) -> Tree:
        parts = [self.sequence()]
        while self.peek() == "|":
            self.take()
            parts.append(self.sequence())
        return parts[0] if len(parts) == 1 else Group("either", tuple(parts))

    def sequence(self) -> Tree:
        parts = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom()))
        return Group("all", tuple(parts))

    def repeated(self, part: Tree) -> Tree:
        counts = _COUNTS.match(self.pattern, self.position)
        if counts:
            self.position = counts.end()
            least = int(counts[1])
            most = least if counts[2] is None else int(counts[3]) if counts[3] else None
        elif self.peek() and self.peek() in "*+?":
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[self.take()]
        else:
            return part
        if isinstance(part, At) or (most is not None and most < least):
            self.fail("nothing to repeat")
        if self.peek() == "?":
            self.take()  # lazy or greedy: whether it matches is the same
        return Group("repeat", (part,), least, most)

    def atom(self) -> Tree:
        if self.peek() == "(":
            return self.group()
        character = self.take()
        if character in "^$":
            return At("^" if character == "^" else "$")
        if character == "[":
            return self.choice()
        if character == "\\":
            return self.place_or_escaped()
        if character in "*+?":
            self.fail("nothing to repeat")
        return Any(classes=(".",)) if character == "." else Any(ranges=((character, character),))

    def place_or_escaped(self) -> Tree:
        if self.peek() and self.peek() in "bB":
            return At("b" if self.take() == "b" else "B")
        return self.escaped()

    def group(self) -> Tree:
        opening = _GROUP_START.match(self.pattern, self.position) or self.fail("unknown kind of group")
        self.position = opening.end()
        self.depth += 1
        if self.depth > DEEPEST_GROUPS:
            self.fail("too many nested groups")
        inner = self.either()
        if self.take() != ")":
            self.fail("')' is missing")
        self.depth -= 1
        return inner

    def choice(self) -> Any:
        negated = self.peek() == "^" and bool(self.take())
        ranges: list[tuple[str, str]] = []
        classes: list[str] = []
        while self.peek() != "]":
            low = self.member()
            classes += low.classes
            if (
                self.peek() == "-"
                and self.pattern[self.position + 1 : self.position + 2] != "]"
                and low.ranges
            ):
                self.take()
                high = self.member()
                if not high.ranges or high.ranges[0][0] < low.ranges[0][0]:
                    self.fail("bad range")
                ranges.append((low.ranges[0][0], high.ranges[0][0]))
            else:
                ranges += low.ranges
        self.take()
        return Any(tuple(ranges), tuple(classes), negated)

    def member(self) -> Any:
        character = self.take()
        if character != "\\":
            return Any(ranges=((character, character),))
        if self.peek() == "b":
            self.take()
            return Any(ranges=(("\b", "\b"),))
        return self.escaped()

    def escaped(self) -> Any:
        code = _HEX.match(self.pattern, self.position)
        if code:
            self.position = code.end()
            character = chr(int(code[1] or code[2], 16))
            return Any(ranges=((character, character),))
        name = self.take()
        if name in "dDwWsS":
            return Any(classes=(name,))
        if name.isalnum() and name not in _CONTROLS:
            self.fail("unknown escape")
        character = _CONTROLS.get(name, name)
        return Any(ranges=((character, character),))
