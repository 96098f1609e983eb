"""Small helpers of authors: pass on, take a note, look at what came in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from app.nodes.data.items import structured
from app.nodes.registry import node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import Output, data_of
from app.workflow.values import JsonObject

#: Longest text, and most entries of a list or object, that an inspection shows.
LONGEST_SHOWN = 2000
MOST_SHOWN = 50


@node_type("pass_through", "noop")
def pass_on(task: Task[NodeSettings]) -> Output:
    """Give the first parent's output as it is."""
    return _passed_on(task)


class Note(NodeSettings):
    """What to note; the message may name other nodes' outputs."""

    message: str = Field(default="", validation_alias=spelled("message", "text", "messageTemplate"))
    level: Literal["debug", "info", "warn", "warning", "error"] = "info"


@node_type("logger", config=Note, gives=("message", "level"))
def note(task: Task[Note]) -> Output:
    """Leave a note in the run's log, which keeps every node's output, and pass on what came in."""
    passed = _passed_on(task)
    noted: JsonObject = {"message": task.config.message or passed.text, "level": task.config.level}
    return Output(text=passed.text, artifact_kind=passed.artifact_kind, data={**passed.data, **noted})


@node_type("debug_inspector", gives=("labels", "parents", "settings"))
def inspect(task: Task[NodeSettings]) -> Output:
    """Show what came in: labels, settings and parents' outputs, long ones cut."""
    parents: JsonObject = {node_id: _cut(given) for node_id, given in task.work.parents}
    return structured(
        {"labels": _cut(task.work.labels), "settings": _cut(task.work.settings), "parents": parents}
    )


def _passed_on(task: Task[NodeSettings]) -> Output:
    if not task.work.parents:
        return Output(artifact_kind="json", data=dict(task.work.labels))
    data, kind = data_of(task.given), task.given.get("artifactKind")
    if not isinstance(data, dict):
        return Output(text=task.text)
    return Output(text=task.text, artifact_kind=kind if isinstance(kind, str) else None, data=data)


def _cut(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}… ({len(value)} characters)"
    if isinstance(value, list):
        more = [f"… ({len(value)} items)"] if len(value) > MOST_SHOWN else []
        return [*(_cut(inner) for inner in value[:MOST_SHOWN]), *more]
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in list(value.items())[:MOST_SHOWN]}
    return value
