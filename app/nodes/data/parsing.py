"""Read the JSON in a model's answer: `output_parser`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue, field_validator

from app.nodes.data.items import structured
from app.nodes.data.schemas import SchemaTooCostlyError, complaint_about_schema, complaints
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.texts.answers import json_in
from app.workflow import NodeFailure, Output
from app.workflow.paths import Missing, segments, walk
from app.workflow.values import JsonObject, compact_json, is_blank


class Parser(NodeSettings):
    """What the JSON must have: fields, of which missing ones fail a strict node, and a JSON schema."""

    fields: list[str] = Field(default_factory=list)
    json_path: str = Field(default="", validation_alias=spelled("jsonPath", "path"))
    strict: bool = False
    # A model of pydantic has a method called `schema`.
    json_schema: JsonObject = Field(default_factory=dict, validation_alias=spelled("schema", "jsonSchema"))

    @field_validator("fields", mode="before")
    @classmethod
    def _read_names(cls, raw: object) -> object:
        if isinstance(raw, str):
            raw = [name.strip() for name in raw.split(",") if name.strip()]
        return (
            [f.get("name", f.get("key")) if isinstance(f, dict) else f for f in raw]
            if isinstance(raw, list)
            else raw
        )


def _usable(config: Parser) -> str | None:
    complaint = complaint_about_schema(config.json_schema)
    return f"schema: {complaint}" if complaint else None


@node_type("output_parser", config=Parser, gives=("value", "__parsed", "__missing"), check=_usable)
def parse(task: Task[Parser]) -> Output:
    """Read the JSON in a text, around which models put thinking, fences and words."""
    config = task.config
    found = _json_in(task)
    if config.json_path.strip():
        inner = walk(found, list(segments(config.json_path)))
        if isinstance(inner, Missing):
            raise NodeFailure(f"not_found: there is nothing at '{config.json_path}'")
        found = inner
    _check_schema(config, found)
    fields = found if isinstance(found, dict) else {}
    missing: list[JsonValue] = [name for name in config.fields if is_blank(fields.get(name))]
    if missing and config.strict:
        raise NodeFailure(f"missing_required: {', '.join(map(str, missing))}")
    data: JsonObject = dict(found) if isinstance(found, dict) else {"value": found}
    return structured({**data, "__parsed": True, "__missing": missing}, text=compact_json(found))


def _check_schema(config: Parser, value: JsonValue) -> None:
    if not config.json_schema:
        return
    try:
        found = complaints(config.json_schema, value)
    except SchemaTooCostlyError as error:
        raise NodeFailure(f"invalid_config: schema, {error}") from None
    if found:
        raise NodeFailure(f"schema_violation: {'; '.join(found)}")


def _json_in(task: Task[Any]) -> JsonValue:
    if not task.text and task.work.parents:
        return task.subject
    found = json_in(task.text)
    if found is None:
        raise NodeFailure("no_json: the text has none")
    return found
