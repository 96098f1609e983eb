"""The model of a node's settings, the spellings of its keys, and values that forms store as text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel, to_snake

#: Where notes on values that are passed over are collected, in the context of a validation.
NOTES = "notes"


class NodeSettings(BaseModel):
    """Base of all models of settings; keys that a type doesn't know are other readers' and are let be."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        # A reference that stands alone is what it names, which may be a number where a text is wanted.
        coerce_numbers_to_str=True,
        # A process meets few of the types: each is built when the first node of it is read.
        defer_build=True,
    )


def spelled(*names: str) -> AliasChoices:
    """Every name under which writers have stored a key, the first that is there wins.

    Each is known in camelCase and in snake_case.
    """
    both = [spelling for name in names for spelling in (to_camel(to_snake(name)), to_snake(name))]
    return AliasChoices(*dict.fromkeys([*names, *both]))


def note(info: ValidationInfo, text: str) -> None:
    """Note for the run's log what a validation passes over; `text` never holds the value itself."""
    if isinstance(info.context, dict) and NOTES in info.context:
        info.context[NOTES].append(text)


def known_or(fallback: Any) -> WrapValidator:
    """A value that the setting doesn't know is noted and replaced, as the platform does it."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return handler(value)
        except ValidationError:
            note(info, f"{to_camel(info.field_name or '')} has an unknown value; '{fallback}' is used")
            return fallback

    return WrapValidator(validate)


def capped(least: float, most: float) -> BeforeValidator:
    """A number beyond the limits is noted and replaced by the nearest one within, as the platform does it."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or least <= value <= most:
            return value
        limit = least if value < least else most
        note(info, f"{to_camel(info.field_name or '')} is beyond its limit; {limit} is used")
        return limit

    return BeforeValidator(validate)


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.replace("\n", ",").split(",") if part.strip()]
    return [] if value is None else value


#: A list of texts; forms store it as one, with commas or lines.
Words = Annotated[list[str], BeforeValidator(_split)]
