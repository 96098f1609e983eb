"""Cut an expression into its tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

#: Longest expression, in characters.
LONGEST_CHARACTERS = 2000

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>-?\d+(?:\.\d+)?(?![\w-]))
      | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z_$0-9][\w$-]*)
      | (?P<sign>===|!==|==|!=|<=|>=|&&|\|\||[<>!()\[\].,])
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r"}


class ExpressionError(ValueError):
    """An expression can't be parsed; the message says where and why, in its own words only."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an expression; `column` counts from 1, `text` of a string is unquoted."""

    kind: Literal["number", "text", "name", "sign", "end"]
    text: str
    column: int


def tokens_of(source: str) -> Iterator[Token]:
    """Yield the tokens of an expression and then an end; raises `ExpressionError`."""
    if len(source) > LONGEST_CHARACTERS:
        raise ExpressionError(f"an expression has at most {LONGEST_CHARACTERS} characters")
    position, end = 0, len(source.rstrip())
    while position < end:
        found = _TOKEN.match(source, position)
        if found is None:
            raise ExpressionError(f"column {position + 1}: unexpected {source[position:].lstrip()[:1]!r}")
        position = found.end()
        for kind in ("number", "text", "name", "sign"):
            if found[kind] is not None:
                text = _unquote(found[kind]) if kind == "text" else found[kind]
                yield Token(kind, text, found.start(kind) + 1)
    yield Token("end", "", end + 1)


def _unquote(text: str) -> str:
    return _ESCAPE.sub(lambda escaped: _CONTROLS.get(escaped[1], escaped[1]), text[1:-1])
