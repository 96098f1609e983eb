"""Take parts out of what came in: `json_transform` and `extract_field`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, JsonValue, field_validator, model_validator

from app.nodes.data.items import ListSettings, list_about, listed, structured
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.paths import Missing, segments
from app.workflow.resolver import Source
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
    path = config.expression
    found = Source.of_output(task.work.outputs[source]).find(path) if source else task.source.find(path)
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
    items = list_about(task, config.array_path, [part.path for part in parts])
    if items is None:
        return structured(_project(task, parts) if config.fields else {"value": _take(task, config)})
    if config.fields:
        return listed([_project_item(Source(item), parts, config.fallback) for item in items], config)
    return listed([_or(Source(item).find(config.field), config.fallback) for item in items], config)


def _take(task: Task[Extract], config: Extract) -> JsonValue:
    found = task.source.find(config.field)
    return _fallback(config, config.field) if isinstance(found, Missing) else found


def _project(task: Task[Extract], parts: Sequence[Part]) -> JsonObject:
    return {part.key: _or(task.source.find(part.path), task.config.fallback) for part in parts}


def _project_item(item: Source, parts: Sequence[Part], fallback: JsonValue) -> JsonValue:
    return {part.key: _or(item.find(part.path), fallback) for part in parts}


def _or(found: JsonValue | Missing, fallback: JsonValue) -> JsonValue:
    return fallback if isinstance(found, Missing) else found


def _fallback(config: Transform | Extract, path: str) -> JsonValue:
    if "fallback" not in config.model_fields_set:
        raise NodeFailure(f"not_found: there is nothing at '{path}'")
    return config.fallback
