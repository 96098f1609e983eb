"""Dotted paths, and the steps by which they lead into a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from app.texts.answers import block_in

#: What an edge hands on when it names no key.
DEFAULT_KEY = "output"

_SEGMENT = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
#: Longest list position that is read as a number.
_INDEX_DIGITS = 9


class Missing:
    """Nothing is there; told apart from null, which is a value."""


MISSING = Missing()


def segments(path: str) -> Iterator[str]:
    """The steps of `items[0].name` and `items.0.name`; a leading `$` stands for the whole and is left out."""
    for position, step in enumerate(_SEGMENT.finditer(path.strip())):
        segment = (step[1] or step[2]).strip()
        if not (position == 0 and segment == "$"):
            yield segment


def walk(value: JsonValue, steps: Sequence[str]) -> JsonValue | Missing:
    """Follow keys and list positions; `Missing` where a step leads nowhere.

    A step into a text goes into the JSON that the text is.
    """
    for step in steps:
        if isinstance(value, str):
            value = block_in(value)
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _is_position(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return value


def _is_position(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) <= _INDEX_DIGITS
