"""Say where in a template something is, in words of the template only."""

from __future__ import annotations

import re

_EXPRESSION = re.compile(r"[\w.\-\[\]\"']{1,60}")


def place(source: str, index: int) -> str:
    """`line 2, column 5`, both counted from 1."""
    line = source.count("\n", 0, index) + 1
    column = index - source.rfind("\n", 0, index)
    return f"line {line}, column {column}"


def expression_at(source: str, index: int) -> str:
    """The name or path that begins at `index`, at most 60 characters of it."""
    found = _EXPRESSION.match(source, index)
    return found[0] if found else source[index : index + 1]
