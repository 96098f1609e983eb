"""Give data other names: `rename_field` and `data_mapper`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue, field_validator, model_validator

from app.nodes.data.items import ListSettings, list_in, listed, structured
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.paths import Missing, segments, walk
from app.workflow.values import JsonObject


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
    is_one = isinstance(subject, dict) and any(mapping.old in subject for mapping in config.mappings)
    items = None if is_one and not config.array_path.strip() else list_in(task, config.array_path)
    if items is not None:
        return listed([_rename(item, config) for item in items], config)
    if not isinstance(subject, dict):
        raise NodeFailure("no_object: the upstream gives neither an object nor a list")
    return structured({"value": _rename(subject, config)})


def _rename(item: JsonValue, config: Rename) -> JsonValue:
    if not isinstance(item, dict):
        return item
    names = {mapping.old: mapping.new for mapping in config.mappings}
    kept = {key: value for key, value in item.items() if key not in names and not config.drop_unmapped}
    return kept | {new: item[old] for old, new in names.items() if old in item}


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
    config, subject = task.config, task.subject
    paths = [list(segments(mapped.source)) for mapped in config.mappings if mapped.source]
    is_one = isinstance(subject, dict) and any(not isinstance(walk(subject, path), Missing) for path in paths)
    items = None if is_one and not config.array_path.strip() else list_in(task, config.array_path)
    if items is not None:
        return listed([_map(item, config) for item in items], config)
    return structured({"value": _map(subject, config)})


def _map(item: JsonValue, config: Mapping) -> JsonObject:
    made: JsonObject = {}
    for mapped in config.mappings:
        found = walk(item, list(segments(mapped.source))) if mapped.source else mapped.value
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
