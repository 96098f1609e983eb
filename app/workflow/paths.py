"""Find values inside a node's stored output by the keys and dotted paths that edges and references use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from app.workflow.values import JsonObject

#: What an edge hands on when it names no key.
DEFAULT_KEY = "output"

_SEGMENT = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
#: Longest list position that is read as a number.
_INDEX_DIGITS = 9


class Missing:
    """Nothing is there; told apart from null, which is a value."""


_MISSING = Missing()


def value_at(output_data: JsonObject, key: str) -> JsonValue:
    """The value of a source key in a node's output.

    A plain key that isn't there, and a dotted path that leads nowhere, give the node's whole `output`:
    existing workflows rely on that. A path is first walked from the top, then from `data`.
    """
    key = key.strip() or DEFAULT_KEY
    found = walk(output_data, [key])
    if isinstance(found, Missing) and ("." in key or "[" in key):
        steps = list(segments(key))
        found = walk(output_data, steps)
        if isinstance(found, Missing):
            found = walk(output_data.get("data"), steps)
    return output_data.get(DEFAULT_KEY, "") if isinstance(found, Missing) else found


def lookup(names: JsonObject, path: str) -> JsonValue:
    """The value at a dotted path below some names; None where it leads nowhere."""
    found = walk(names, list(segments(path)))
    return None if isinstance(found, Missing) else found


def segments(path: str) -> Iterator[str]:
    """The steps of `items[0].name` and `items.0.name`; a leading `$` stands for the whole and is left out."""
    for position, step in enumerate(_SEGMENT.finditer(path.strip())):
        segment = (step[1] or step[2]).strip()
        if not (position == 0 and segment == "$"):
            yield segment


def walk(value: JsonValue, steps: Sequence[str]) -> JsonValue | Missing:
    """Follow keys and list positions; `Missing` where a step leads nowhere."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _is_position(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value


def _is_position(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) <= _INDEX_DIGITS
