"""Check one value against the schema of a contract's field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from app.texts.json_text import parse_json
from app.workflow.language import matches
from app.workflow.values import JsonObject, is_blank, stringify

FieldType = Literal["string", "number", "integer", "boolean", "url", "json", "array", "any"]


def _null_to_false(value: object) -> object:
    return False if value is None else value


class FieldSchema(BaseModel):
    """What one field must look like; bounds are inclusive, lengths are in characters."""

    model_config = ConfigDict(frozen=True)

    type: FieldType = "any"
    required: Annotated[bool, BeforeValidator(_null_to_false)] = False
    min_length: int | None = Field(default=None, validation_alias=AliasChoices("minLength", "min_length"))
    max_length: int | None = Field(default=None, validation_alias=AliasChoices("maxLength", "max_length"))
    pattern: str | None = None
    least: float | None = Field(default=None, validation_alias=AliasChoices("min", "minimum"))
    most: float | None = Field(default=None, validation_alias=AliasChoices("max", "maximum"))
    item_type: FieldType | None = Field(default=None, validation_alias=AliasChoices("itemType", "item_type"))
    enum: list[JsonValue] | None = None

    def problems(self, field: str, value: JsonValue) -> list[JsonObject]:
        """Everything wrong with a value, none of it quoting the value; absent values are null and ''."""
        if is_blank(value):
            return [problem(field, "missing_required", "a value is needed")] if self.required else []
        if not _is_of_type(value, self.type):
            return [problem(field, "type_mismatch", f"expected {self.type}")]
        return [problem(field, reason, details) for reason, details in self._faults(value)]

    def _faults(self, value: JsonValue) -> Iterator[tuple[str, str]]:
        if self.type in ("string", "url") and isinstance(value, str):
            yield from self._text_faults(value)
        if self.type in ("number", "integer") and isinstance(value, int | float):
            if self.least is not None and value < self.least:
                yield "below_min", f"at least {self.least:g}"
            if self.most is not None and value > self.most:
                yield "above_max", f"at most {self.most:g}"
        if isinstance(value, list) and self.item_type is not None:
            wrong = [str(i) for i, item in enumerate(value) if not _is_of_type(item, self.item_type)]
            if wrong:
                yield "type_mismatch", f"items {', '.join(wrong[:10])}: expected {self.item_type}"
        if self.enum is not None and stringify(value) not in map(stringify, self.enum):
            yield "enum_mismatch", "not one of the allowed values"

    def _text_faults(self, text: str) -> Iterator[tuple[str, str]]:
        if self.min_length is not None and len(text) < self.min_length:
            yield "too_short", f"at least {self.min_length} characters"
        if self.max_length is not None and len(text) > self.max_length:
            yield "too_long", f"at most {self.max_length} characters"
        if self.type == "url" and not _is_url(text):
            yield "pattern_mismatch", "not a URL"
        if self.pattern is not None and not matches(self.pattern, text):
            yield "pattern_mismatch", "the pattern is not found"


def problem(field: str, reason: str, details: str) -> JsonObject:
    """One entry of `contractErrors`."""
    return {"field": field, "reason": reason, "details": details}


def _is_of_type(value: JsonValue, expected: FieldType) -> bool:
    return expected == "any" or _TYPES[expected](value)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: JsonValue) -> bool:
    return value.is_integer() if isinstance(value, float) else _is_number(value)


def _is_structure(value: JsonValue) -> bool:
    return isinstance(parse_json(value) if isinstance(value, str) else value, dict | list)


_TYPES: dict[FieldType, Callable[[JsonValue], bool]] = {
    "string": lambda value: isinstance(value, str),
    "url": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": _is_integer,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "json": _is_structure,
}


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    has_place = (
        bool(parts.hostname) if parts.scheme in ("http", "https") else bool(parts.path or parts.netloc)
    )
    return bool(parts.scheme) and has_place and not any(character.isspace() for character in text)
