"""Give data other names: `rename_field` and `data_mapper`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field, JsonValue, field_validator, model_validator

from app.nodes.data.items import ListSettings, list_about, listed, structured
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.paths import Missing, segments
from app.workflow.resolver import Source
from app.workflow.values import JsonObject

#: What a path leads to, wherever it is read.
Find = Callable[[str], JsonValue | Missing]


class Renaming(NodeSettings):
    """A key and what it is called from now on."""

    old: str = Field(min_length=1, validation_alias=spelled("from", "old", "source"))
    new: str = Field(min_length=1, validation_alias=spelled("to", "new", "target"))


class Rename(ListSettings):
    """Which keys are renamed, as a list of pairs or a map of old to new; the others stay unless dropped."""

    mappings: list[Renaming] = Field(min_length=1, validation_alias=spelled("mappings", "renames", "mapping"))
    drop_unmapped: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read_keep(cls, raw: Any) -> Any:
        """The builder's form asks the other way round."""
        keep = raw.get("keepUnmapped", raw.get("keep_unmapped")) if isinstance(raw, dict) else None
        return raw if keep is None else {"dropUnmapped": not keep, **raw}

    @field_validator("mappings", mode="before")
    @classmethod
    def _read_map(cls, raw: object) -> object:
        return [{"from": old, "to": new} for old, new in raw.items()] if isinstance(raw, dict) else raw


@node_type("rename_field", config=Rename, gives=("value", "items", "count", "truncated"))
def rename(task: Task[Rename]) -> Output:
    """Rename keys of an object, or of each object in a list."""
    config, subject = task.config, task.subject
    items = list_about(task, config.array_path, [mapping.old for mapping in config.mappings])
    if items is not None:
        return listed([_rename_item(item, config) for item in items], config)
    renamed = _rename(subject if isinstance(subject, dict) else {}, config, task.source.find)
    if not renamed and not isinstance(subject, dict):
        raise NodeFailure("no_object: the upstream gives neither an object nor a list")
    return structured({"value": renamed})


def _rename_item(item: JsonValue, config: Rename) -> JsonValue:
    return _rename(item, config, Source(item).find) if isinstance(item, dict) else item


def _rename(whole: JsonObject, config: Rename, find: Find) -> JsonObject:
    """The keys under their new names, with what isn't renamed of an object; a text has no keys of its own."""
    found = {mapping.new: find(mapping.old) for mapping in config.mappings}
    old = {_own_key(mapping.old, whole) for mapping in config.mappings}
    kept = {key: value for key, value in whole.items() if key not in old and not config.drop_unmapped}
    return kept | {new: value for new, value in found.items() if not isinstance(value, Missing)}


def _own_key(path: str, whole: JsonObject) -> str:
    """`data.x` is the object's own `x`, unless it has a key `data`."""
    return path if path in whole or "data" in whole else path.removeprefix("data.")


class Mapped(NodeSettings):
    """A key of the new object, perhaps with dots, and the path its value comes from, or the value itself."""

    target: str = Field(min_length=1, validation_alias=spelled("to", "target", "key", "name"))
    source: str = Field(default="", validation_alias=spelled("from", "source", "path"))
    value: JsonValue = Field(default=None, validation_alias=spelled("value", "default", "fallback"))


class Mapping(ListSettings):
    """The keys of the new object, as a list or as a map of key to path."""

    mappings: list[Mapped] = Field(min_length=1, validation_alias=spelled("mappings", "mapping"))

    @field_validator("mappings", mode="before")
    @classmethod
    def _read_map(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            return raw
        return [{"to": key, "from" if isinstance(path, str) else "value": path} for key, path in raw.items()]


@node_type("data_mapper", config=Mapping, gives=("value", "items", "count", "truncated"))
def map_data(task: Task[Mapping]) -> Output:
    """Make a new object of values found at paths, or one of each item of a list."""
    config = task.config
    items = list_about(
        task, config.array_path, [mapped.source for mapped in config.mappings if mapped.source]
    )
    if items is not None:
        return listed([_map(Source(item).find, config) for item in items], config)
    return structured({"value": _map(task.source.find, config)})


def _map(find: Find, config: Mapping) -> JsonObject:
    made: JsonObject = {}
    for mapped in config.mappings:
        found = find(mapped.source) if mapped.source else mapped.value
        _put(made, list(segments(mapped.target)), mapped.value if isinstance(found, Missing) else found)
    return made


def _put(target: JsonObject, steps: list[str], value: JsonValue) -> None:
    for step in steps[:-1]:
        inner = target.get(step)
        if not isinstance(inner, dict):
            inner = target[step] = {}
        target = inner
    if steps:
        target[steps[-1]] = value
