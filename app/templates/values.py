"""The text form of JSON values, the same one that Postgres gives to jsonb."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal


def text_pieces(value: object) -> Iterator[str]:
    """Yield the text of a value bit by bit, so that whoever collects it can stop at a limit.

    A string is itself and null is nothing; all else is JSON as jsonb prints it: `{"a": 1}`, `[1, "x"]`,
    shorter keys first, no exponents. Raises `TypeError` for what JSON doesn't have.
    """
    if isinstance(value, str):
        yield value
    elif value is not None:
        yield from json_pieces(value)


def text_of(value: object) -> str:
    """The whole text of a value; see `text_pieces`."""
    return "".join(text_pieces(value))


def json_pieces(value: object) -> Iterator[str]:
    """Yield the JSON of a value bit by bit; unlike its text form, strings are quoted and null is `null`."""
    match value:
        case None:
            yield "null"
        case bool():
            yield "true" if value else "false"
        case int():
            yield str(value)
        case float():
            yield format(Decimal(str(value + 0.0)), "f")  # as in jsonb, zero has no sign
        case Decimal():
            yield format(value, "f")
        case str():
            yield json.dumps(value, ensure_ascii=False)
        case dict():
            yield from _object_pieces(value)
        case list() | tuple():
            yield from _array_pieces(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in JSON")


def jsonb_order(key: str) -> tuple[int, bytes]:
    """Sort keys as jsonb does: shorter ones first, then bytewise."""
    encoded = key.encode("utf-8", "surrogatepass")
    return len(encoded), encoded


def _object_pieces(members: dict[str, object]) -> Iterator[str]:
    opening = "{"
    for key in sorted(members, key=jsonb_order):
        yield f"{opening}{json.dumps(key, ensure_ascii=False)}: "
        yield from json_pieces(members[key])
        opening = ", "
    yield "}" if members else "{}"


def _array_pieces(items: list[object] | tuple[object, ...]) -> Iterator[str]:
    opening = "["
    for item in items:
        yield opening
        yield from json_pieces(item)
        opening = ", "
    yield "]" if items else "[]"
