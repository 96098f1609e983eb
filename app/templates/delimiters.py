"""Check a Liquid source before the library's lexer sees it, in time proportional to its length.

python-liquid's lexer is a set of backtracking regular expressions that hold the interpreter's lock: 16 KB of
`{{` keep it busy for more than ten seconds. Here every delimiter is paired by plain searching, as the lexer
would pair it, and whatever would send a regular expression over the same text again and again is refused.
"""

from __future__ import annotations

import re

from app.errors import GiveUp
from app.templates.limits import Limits
from app.templates.positions import place

#: Longest run of white space between delimiters; the lexer is quadratic in it.
LONGEST_BLANK_CHARACTERS = 256
#: Most brackets times characters between two delimiters: from each bracket the lexer looks at all the rest.
BRACKET_WORK = 4_000_000

_OPENING = re.compile(r"\{\{|\{%")
_TAG_NAME = re.compile(r"\{%-?\s*(#|\w+)")
#: The tags that have lexer rules of their own: what is between them isn't Liquid.
_VERBATIM = {
    name: (re.compile(rf"\{{%-?\s*{name}\s*-?%\}}"), re.compile(rf"\{{%-?\s*end{name}\s*-?%\}}"))
    for name in ("raw", "doc")
}
_TOO_BLANK = re.compile(rf"\s{{{LONGEST_BLANK_CHARACTERS + 1}}}")


def needs_liquid(body: str) -> bool:
    """Whether a template contains a Liquid delimiter, `{{` or `{%`."""
    return _OPENING.search(body) is not None


def check_source(source: str, limits: Limits) -> None:
    """Raise `GiveUp` if a source is too long, has an unpaired delimiter, or is made to stall the lexer."""
    if len(source) > limits.source_characters:
        raise GiveUp(
            "template.too_large",
            f"the template has {len(source)} characters; with Liquid at most {limits.source_characters}",
        )
    position = 0
    while opening := _OPENING.search(source, position):
        start = opening.start()
        position = _after_output(source, start) if opening[0] == "{{" else _after_tag(source, start)


def _after_output(source: str, start: int) -> int:
    end = source.find("}}", start + 2)
    if end < 0:
        raise _syntax(source, start, "'{{' is never closed")
    _check_inside(source, start, end)
    return end + 2


def _after_tag(source: str, start: int) -> int:
    name = _TAG_NAME.match(source, start)
    if name is None:
        raise _syntax(source, start, "a tag without a name")
    if name[1] in _VERBATIM:
        return _after_verbatim(source, start, name[1])
    end = source.find("%}", name.end())
    if end < 0:
        raise _syntax(source, start, "'{%' is never closed")
    _check_inside(source, start, end)
    return end + 2


def _after_verbatim(source: str, start: int, name: str) -> int:
    opening, closing = _VERBATIM[name]
    opened = opening.match(source, start)
    closed = closing.search(source, opened.end()) if opened else None
    if closed is None:
        raise _syntax(source, start, f"'{name}' is never closed")
    return closed.end()


def _check_inside(source: str, start: int, end: int) -> None:
    if _TOO_BLANK.search(source, start, end):
        raise _syntax(source, start, f"more than {LONGEST_BLANK_CHARACTERS} blank characters in a row")
    brackets = source.count("(", start, end) + source.count("[", start, end)
    if brackets * (end - start) > BRACKET_WORK:
        raise _syntax(source, start, "too many brackets in one expression")


def _syntax(source: str, index: int, problem: str) -> GiveUp:
    return GiveUp("template.syntax", f"{place(source, index)}: {problem}")
