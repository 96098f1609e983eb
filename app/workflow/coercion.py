"""Give configured values the type that is meant: form fields of the builder arrive as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from pydantic import JsonValue

from app.texts.json_text import parse_json
from app.workflow.values import as_number, stringify


class FieldKind(StrEnum):
    """What a field of a node's form holds."""

    TEXT = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"
    TEXTS = "string[]"


#: The kinds of a node type's fields, by type and key.
FieldKinds: TypeAlias = Mapping[str, Mapping[str, FieldKind]]

#: Numbers as people write them; a leading zero or many digits mean an identifier.
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")


def coerce(value: JsonValue, kind: FieldKind | None) -> JsonValue:
    """A value as its field means it; unknown fields are only read as what they clearly are."""
    if kind is FieldKind.TEXT:
        return stringify(value)
    if not isinstance(value, str):
        return value
    match kind:
        case FieldKind.BOOLEAN:
            return value.strip().lower() == "true"
        case FieldKind.NUMBER:
            return _number(value)
        case FieldKind.JSON | FieldKind.TEXTS:
            parsed = parse_json(value)
            return value if parsed is None else parsed
    return _coerce_loosely(value)


def _number(text: str) -> JsonValue:
    number = as_number(text)
    if number is None:
        return text
    return int(number) if number.is_integer() else number


def _coerce_loosely(text: str) -> JsonValue:
    word = text.strip()
    if word in ("true", "false"):
        return word == "true"
    if _PLAIN_NUMBER.fullmatch(word):
        return _number(word)
    if word[:1] + word[-1:] in ("{}", "[]"):
        parsed = parse_json(word)
        return text if parsed is None else parsed
    return text
