"""How values of items are found, told apart and put in order."""

from __future__ import annotations

import json

from pydantic import JsonValue

from app.workflow.paths import Missing
from app.workflow.resolver import Source
from app.workflow.values import as_number, compact_json


def find_in_item(item: JsonValue, path: str) -> JsonValue:
    """What is at a path of an item, the item itself without one; None where there is nothing."""
    found = Source(item, {"item": item}).find(path)
    return None if isinstance(found, Missing) else found


def identity(value: JsonValue) -> str:
    """A text that equal values share and others don't, whatever the order of their keys."""
    return json.dumps(json.loads(compact_json(value)), sort_keys=True, ensure_ascii=False)


def compare(left: JsonValue, right: JsonValue) -> int | None:
    """Negative, zero or positive as with numbers if both are or spell one, or as with texts if both are.

    None for any other pair.
    """
    numbers = as_number(left), as_number(right)
    if numbers[0] is not None and numbers[1] is not None:
        return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])
    both_text = isinstance(left, str) and isinstance(right, str)
    return (left > right) - (left < right) if both_text else None  # type: ignore[operator] # both are texts


def rank(value: JsonValue) -> tuple[int, float, str]:
    """Where a value stands among others: numbers and what spells one, then texts, then all else."""
    number = as_number(value)
    if number is not None:
        return (0, number, "")
    return (1, 0.0, value) if isinstance(value, str) else (2, 0.0, identity(value))
