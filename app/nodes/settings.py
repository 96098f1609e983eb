"""The model of a node's settings, and the spellings of its keys."""

from __future__ import annotations

from pydantic import AliasChoices, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel, to_snake


class NodeSettings(BaseModel):
    """Base of all models of settings; keys that a type doesn't know are other readers' and are let be."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


def spelled(*names: str) -> AliasChoices:
    """Every name under which writers have stored a key, the first that is there wins.

    Each is known in camelCase and in snake_case.
    """
    both = [spelling for name in names for spelling in (to_camel(to_snake(name)), to_snake(name))]
    return AliasChoices(*dict.fromkeys([*names, *both]))
