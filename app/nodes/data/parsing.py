"""Read the JSON in a model's answer: `output_parser`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field, JsonValue, field_validator

from app.nodes.data.items import structured
from app.nodes.data.schemas import SchemaTooCostlyError, complaint_about_schema, complaints
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.paths import Missing, segments, walk
from app.workflow.values import JsonObject, compact_json, is_blank, is_shallow, parse_json

#: How many braces are tried as the beginning of an object in the midst of a text.
MOST_BEGINNINGS = 20

_FENCE = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)


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
    """Read the JSON in a text, from around which models put fences and words."""
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
    for candidate in _candidates(task.text):
        if isinstance(candidate, dict | list) or (candidate is not None and candidate != ""):
            return candidate
    raise NodeFailure("no_json: the text has none")


def _candidates(text: str) -> Iterator[JsonValue]:
    """What may be meant, the likeliest first: the whole text, what is fenced, an object, a list."""
    yield parse_json(text)
    for fenced in _FENCE.findall(text):
        yield parse_json(fenced)
    for bracket in "{[":
        yield from _embedded(text, bracket)


def _embedded(text: str, bracket: str) -> Iterator[JsonValue]:
    start = text.find(bracket)
    for _ in range(MOST_BEGINNINGS):
        if start < 0:
            return
        try:
            found: JsonValue = json.JSONDecoder().raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            found = None
        yield found if is_shallow(found) else None
        start = text.find(bracket, start + 1)
