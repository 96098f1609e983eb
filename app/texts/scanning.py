"""Find JSON values in a text, each of them whole, in time that grows with the text alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from app.texts.json_text import is_shallow

#: How many characters may be read in vain, all in all.
MOST_VAIN_CHARACTERS = 4 * 1024 * 1024
#: What a nesting costs that is too deep to be read.
_TOO_DEEP_CHARACTERS = 64 * 1024

#: Most blanks between a line's end and a value that has the line to itself.
_MOST_INDENT = 80

_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda _: None)
_MARK = re.compile(r"(`{3,}|~{3,})|[{\[]")
#: A fence with the name of a language, and the line's end.
_OPENING = re.compile(r"(?P<mark>`{3,}|~{3,})[ \t]*(?P<language>[\w+.-]*)[^\n`~{\[\"]*\n?\s*")
#: In fences of these languages JSON is looked for among other words.
_PLAIN = frozenset(
    {"", "json", "jsonc", "json5", "jsonl", "ndjson", "js", "javascript", "text", "txt", "markdown", "md"}
)
_STRING = r'"(?:[^"\\]|\\.)*"'
#: Beginnings that aren't certainly words.
_PROMISING = re.compile(r"\{\s*[\"}]|\[\s*[\[\]{\"\d\-tfnIN]|[\"\d\-tfnIN]")
#: What is meant to be an object or a list: what follows such a beginning belongs to it, even if it is broken.
_BEGUN = re.compile(rf"\{{\s*(?:{_STRING}|[\w$]+|'[^'\n]*'|“[^”]{{0,200}}”)\s*:|\[\s*[{{\"]", re.DOTALL)
_TOKEN = re.compile(rf"{_STRING}?|[{{}}\[\]]", re.DOTALL)
_IDLE_COMMA = re.compile(rf"({_STRING})|(?<![\[{{,\s]),(?=\s*[}}\]])", re.DOTALL)
_TYPOGRAPHIC = str.maketrans("“”", '""')


@dataclass(frozen=True)
class Found:
    """A value of a text, where it ends, and what sets it apart from words."""

    value: JsonValue
    end: int
    is_fenced: bool = False
    has_own_lines: bool = False


def decode(text: str, at: int) -> Found | None:
    """The value that begins there, None where none does."""
    return _Scan(text).decode(at)


def scan(text: str) -> list[Found]:
    """Every value that isn't part of another, in order."""
    return list(_Scan(text).run())


class _Scan:
    """One walk through a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._left_characters = MOST_VAIN_CHARACTERS

    def run(self) -> Iterator[Found]:
        at, fence = 0, ""
        while self._left_characters > 0 and (mark := _MARK.search(self._text, at)):
            if mark[1] and fence:
                at, fence = mark.end(), ""
            elif mark[1]:
                at, fence = self._opened(mark.start())
                found = self.decode(at) if fence else None
                if found and self._is_closed(found.end, fence):
                    yield Found(found.value, found.end, is_fenced=True)
                    at = found.end
            else:
                at, found = self._at_bracket(mark.start())
                if found:
                    own_lines = self._has_own_lines(mark.start(), found.end)
                    yield Found(found.value, found.end, bool(fence), own_lines)

    def decode(self, at: int) -> Found | None:
        """The value that begins there, None where none does; a value that nests too deeply is null."""
        if not _PROMISING.match(self._text, at):
            return self._mended(at)
        try:
            value, end = _DECODER.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            # To tell its line, the error counts all lines before it.
            self._left_characters -= max(error.pos - at, error.pos // 16) + 1
            return self._mended(at)
        except RecursionError:
            self._left_characters -= _TOO_DEEP_CHARACTERS
            return None
        return Found(value if is_shallow(value) else None, end)

    def _mended(self, at: int) -> Found | None:
        """The same without what has one meaning only and is still no JSON."""
        if not _BEGUN.match(self._text, at) or (end := self._closing(at)) is None:
            return None
        piece = self._text[at:end]
        if '"' not in piece:
            piece = piece.translate(_TYPOGRAPHIC)
        piece = _IDLE_COMMA.sub(lambda match: match[1] or "", piece)
        try:
            value = json.loads(piece, strict=False, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            return None
        return Found(value if is_shallow(value) else None, end)

    def _at_bracket(self, at: int) -> tuple[int, Found | None]:
        """Where to go on from a bracket, and the value that begins with it, if one does."""
        found = self.decode(at)
        if found:
            return found.end, found
        if not _BEGUN.match(self._text, at):
            return at + 1, None
        return self._closing(at) or len(self._text), None

    def _closing(self, at: int) -> int | None:
        """Where the bracket that opens there is closed, None if it never is."""
        depth = 0
        for token in _TOKEN.finditer(self._text, at):
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
            if depth == 0:
                return token.end()
        return None

    def _opened(self, at: int) -> tuple[int, str]:
        """Where the content of a fence begins, and its mark; a fence of program code is left behind."""
        opening = _OPENING.match(self._text, at)
        assert opening is not None, "it was found by its mark"
        mark = opening["mark"]
        if opening["language"].lower() in _PLAIN:
            return opening.end(), mark
        closing = self._text.find(mark, opening.end())
        return (closing + len(mark), "") if closing >= 0 else (opening.end(), mark)

    def _is_closed(self, at: int, mark: str) -> bool:
        rest = self._text[at : at + 1000].lstrip()
        return not rest or rest.startswith(mark)

    def _has_own_lines(self, start: int, end: int) -> bool:
        before = self._text[max(0, start - _MOST_INDENT) : start].rstrip(" \t")
        after = self._text[end : end + _MOST_INDENT].lstrip(" \t\r")
        begins = before.endswith("\n") or (not before and start < _MOST_INDENT)
        return begins and (after.startswith("\n") or (not after and end + _MOST_INDENT > len(self._text)))
