"""The model of a node's settings, the spellings of its keys, and values that forms store as text."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel, to_snake


class NodeSettings(BaseModel):
    """Base of all models of settings; keys that a type doesn't know are other readers' and are let be."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
        # A process meets few of the types: each is built when the first node of it is read.
        defer_build=True,
    )


def spelled(*names: str) -> AliasChoices:
    """Every name under which writers have stored a key, the first that is there wins.

    Each is known in camelCase and in snake_case.
    """
    both = [spelling for name in names for spelling in (to_camel(to_snake(name)), to_snake(name))]
    return AliasChoices(*dict.fromkeys([*names, *both]))


def _split(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.replace("\n", ",").split(",") if part.strip()]
    return [] if value is None else value


#: A list of texts; forms store it as one, with commas or lines.
Words = Annotated[list[str], BeforeValidator(_split)]
