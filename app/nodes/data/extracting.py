"""Take parts out of what came in: `json_transform` and `extract_field`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, JsonValue, field_validator, model_validator

from app.nodes.data.items import ListSettings, find, find_in, list_in, listed, structured
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output, data_of
from app.workflow.paths import Missing, segments, walk
from app.workflow.values import JsonObject


class Transform(NodeSettings):
    """A dotted path into the data of the first parent, or of the node that `sourceNodeId` names."""

    expression: str = Field(min_length=1, validation_alias=spelled("expression", "path"))
    source_node_id: str = ""
    fallback: JsonValue = None


@node_type("json_transform", config=Transform, gives=("value", "expression"))
def transform(task: Task[Transform]) -> Output:
    """Give the value at a path."""
    config = task.config
    source = config.source_node_id.strip().lower()
    if source and source not in task.work.outputs:
        raise NodeFailure(f"not_found: node {source} gave nothing, or doesn't come before this one")
    stored = task.work.outputs.get(source, {})
    path = config.expression
    found = find_in(data_of(stored), stored, path) if source else find(task, path)
    if isinstance(found, Missing):
        found = _fallback(config, path)
    return structured({"value": found, "expression": path})


class Part(NodeSettings):
    """A field to take: where it is, and what to call it."""

    path: str = Field(min_length=1, validation_alias=spelled("path", "field", "from"))
    name: str | None = Field(default=None, validation_alias=spelled("as", "name", "to"))

    @property
    def key(self) -> str:
        """What the field is called in the result; without a name its path's last step."""
        return self.name or [*segments(self.path), self.path][-2]


class Extract(ListSettings):
    """One field, whose value is taken, or several, of which an object is made."""

    field: str = Field(default="", validation_alias=spelled("field", "path"))
    fields: list[Part] = Field(default_factory=list)
    fallback: JsonValue = None

    @field_validator("fields", mode="before")
    @classmethod
    def _read_names(cls, raw: object) -> object:
        if isinstance(raw, str):
            raw = [name.strip() for name in raw.split(",") if name.strip()]
        return (
            [{"path": part} if isinstance(part, str) else part for part in raw]
            if isinstance(raw, list)
            else raw
        )

    @model_validator(mode="after")
    def _needs_a_field(self) -> Extract:
        if not self.field and not self.fields:
            raise ValueError("needs a field, or fields")
        return self


@node_type("extract_field", config=Extract, gives=("value", "items", "count", "truncated"))
def extract(task: Task[Extract]) -> Output:
    """Take one field or several out of an object, or out of each item of a list."""
    config = task.config
    parts = config.fields or [Part(path=config.field)]
    items = list_in(task, config.array_path)
    if items is None or not (config.array_path.strip() or _is_about_items(task.subject, parts)):
        found = _take(task.subject, parts, config)
        return structured({"value": found} if config.field and not config.fields else _as_object(found))
    if config.fields:
        return listed([_project(item, parts, config.fallback) for item in items], config)
    return listed([_or(walk(i, list(segments(config.field))), config.fallback) for i in items], config)


def _is_about_items(subject: JsonValue, parts: Sequence[Part]) -> bool:
    """Whether the fields are those of a list's items rather than of the object that holds the list."""
    return all(isinstance(walk(subject, list(segments(part.path))), Missing) for part in parts)


def _take(subject: JsonValue, parts: Sequence[Part], config: Extract) -> JsonValue:
    if config.fields:
        return _project(subject, parts, config.fallback)
    found = walk(subject, list(segments(config.field)))
    return _fallback(config, config.field) if isinstance(found, Missing) else found


def _project(item: JsonValue, parts: Sequence[Part], fallback: JsonValue) -> JsonValue:
    return {part.key: _or(walk(item, list(segments(part.path))), fallback) for part in parts}


def _as_object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {"value": value}


def _or(found: JsonValue | Missing, fallback: JsonValue) -> JsonValue:
    return fallback if isinstance(found, Missing) else found


def _fallback(config: Transform | Extract, path: str) -> JsonValue:
    if "fallback" not in config.model_fields_set:
        raise NodeFailure(f"not_found: there is nothing at '{path}'")
    return config.fallback
