"""JSON values as the platform's browser engine treats them: their text, size, truth and number."""

from __future__ import annotations

import json
import math
from typing import TypeAlias

from pydantic import JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]

#: From here on JavaScript writes whole numbers with an exponent.
_WHOLE_NUMBER_END = 1e21


def stringify(value: JsonValue) -> str:
    """The text of a value: null is nothing, a string is itself, all else is compact JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else compact_json(value)


def compact_json(value: JsonValue) -> str:
    """JSON without spaces, numbers written as JavaScript writes them; keys keep their order."""
    return json.dumps(_script_numbers(value), ensure_ascii=False, separators=(",", ":"))


def json_length(value: JsonValue) -> int:
    """The length of a value's compact JSON in UTF-16 units, which is how browsers count."""
    text = compact_json(value)
    return len(text) + sum(character > "\uffff" for character in text)


def is_truthy(value: JsonValue) -> bool:
    """Truth as in JavaScript: an empty list or object is true."""
    return isinstance(value, list | dict) or (bool(value) and value == value)  # noqa: PLR0124 - NaN is false


def is_blank(value: JsonValue) -> bool:
    """Whether a value counts as absent: null or empty text."""
    return value is None or value == ""


def as_number(value: JsonValue) -> float | None:
    """The number a value is or spells; None for everything else, booleans and blank text included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or "_" in str(value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _script_numbers(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _script_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_script_numbers(inner) for inner in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < _WHOLE_NUMBER_END else value
    return value
