"""JSON texts of strangers: a byte order mark is no part of them, and their nesting has a limit."""

from __future__ import annotations

import json

from pydantic import JsonValue

#: Deepest nesting of any value that enters or leaves a run; what is deeper ends in a clear error.
DEEPEST_LEVELS = 64

#: U+FEFF, which Windows programs write before a text.
BYTE_ORDER_MARK = "\ufeff"


def parse_json(text: str) -> JsonValue:
    """The value that a text is the JSON of; None where it isn't JSON or nests too deeply."""
    try:
        value: JsonValue = json.loads(text.lstrip(BYTE_ORDER_MARK), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return value if is_shallow(value) else None


def is_shallow(value: JsonValue) -> bool:
    """Whether a value nests at most `DEEPEST_LEVELS` levels."""
    level = [value]
    for _ in range(DEEPEST_LEVELS + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False
