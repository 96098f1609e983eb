"""SQL and PL/pgSQL as tokens: just enough to find where statements, expressions and names end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+|--[^\n]*|/\*.*?\*/)
  | (?P<text>[eE]'(?:[^'\\]|''|\\.)*'|(?:[bBxX]|[uU]&)?'(?:[^']|'')*'
      |\$(?P<tag>[A-Za-z_]\w*)\$.*?\$(?P=tag)\$|\$\$.*?\$\$)
  | (?P<name>"(?:[^"]|"")*")
  | (?P<word>[A-Za-z_\u0080-\uffff][\w$]*)
  | (?P<parameter>\$\d+)
  | (?P<number>\d+(?:\.(?!\.)\d*)?(?:[eE][+-]?\d+)?|\.\d+)
  | (?P<sign>:=|\.\.|::|=>|<<|>>|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING, _CLOSING = {"(", "["}, {")", "]"}


@dataclass(frozen=True)
class Token:
    """A token and where it stands in the source. Words are upper case in `word`, other tokens have none."""

    kind: str
    text: str
    begin: int
    end: int

    @property
    def word(self) -> str:
        """The upper-case word, or the sign; nothing for a text or a quoted name."""
        return self.text.upper() if self.kind in {"word", "sign"} else ""

    @property
    def is_name(self) -> bool:
        """Whether it can be a name or a part of one."""
        return self.kind in {"word", "name"}


def tokens_of(source: str) -> list[Token]:
    """Every token but blanks and comments."""
    return [
        Token(match.lastgroup or "sign", match[0], match.start(), match.end())
        for match in _TOKEN.finditer(source)
        if match.lastgroup != "blank"
    ]


def find_outside(tokens: Sequence[Token], words: set[str], start: int) -> int:
    """The first of these words that stands outside parentheses and CASE … END, or where the tokens end."""
    depth = 0
    for place in range(start, len(tokens)):
        word = tokens[place].word
        if depth == 0 and word in words:
            return place
        if word in _OPENING or word == "CASE":
            depth += 1
        elif word in _CLOSING or (word == "END" and depth > 0):
            depth -= 1
    return len(tokens)


def split_outside(tokens: Sequence[Token], sign: str) -> Iterator[Sequence[Token]]:
    """The parts between a sign that stands outside parentheses and CASE … END; empty ones are left out."""
    start = 0
    while start < len(tokens):
        end = find_outside(tokens, {sign}, start)
        if end > start:
            yield tokens[start:end]
        start = end + 1


def source_of(source: str, tokens: Sequence[Token]) -> str:
    """What the source says from the first to the last of these tokens."""
    return source[tokens[0].begin : tokens[-1].end] if tokens else ""


def line_of(source: str, token: Token) -> int:
    """The line of the source where a token begins, from 1."""
    return source.count("\n", 0, token.begin) + 1
