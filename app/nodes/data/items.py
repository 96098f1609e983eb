"""Where nodes that work on lists find theirs, and how they give one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, JsonValue

from app.nodes.settings import NodeSettings
from app.nodes.task import Task
from app.workflow import NodeFailure, Output
from app.workflow.paths import Missing, segments, walk
from app.workflow.values import JsonObject, compact_json, parse_json

#: Most items that a node looks at.
MOST_ITEMS = 1000
#: Under which keys nodes keep the list that they give: lists, parsed texts, answers of servers, other runs.
LIST_KEYS = ("items", "value", "data", "result")


class ListSettings(NodeSettings):
    """Where the list is; without a path it is the upstream's data itself, or in there under `items`."""

    array_path: str = ""
    max_items: int = Field(default=MOST_ITEMS, ge=1, le=MOST_ITEMS)


def find(task: Task[Any], path: str) -> JsonValue | Missing:
    """What a dotted path leads to in the first parent's data, or else in all of what it stored."""
    return find_in(task.subject, task.given, path)


def find_in(subject: JsonValue, stored: JsonObject, path: str) -> JsonValue | Missing:
    """The same for any node whose data and stored output are given."""
    steps = list(segments(path))
    found = walk(subject, steps)
    return walk(stored, steps) if isinstance(found, Missing) else found


def list_in(task: Task[Any], array_path: str) -> list[JsonValue] | None:
    """The list that a node is to work on, None where there is none.

    Raises `NodeFailure` `no_list` if a path is given and doesn't lead to one.
    """
    if array_path.strip():
        found = find(task, array_path)
        found = parse_json(found) if isinstance(found, str) else found
        if not isinstance(found, list):
            raise NodeFailure(f"no_list: there is none at '{array_path.strip()}'")
        return found
    subject = task.subject
    if isinstance(subject, dict):
        subject = next((subject[key] for key in LIST_KEYS if isinstance(subject.get(key), list)), None)
    return subject if isinstance(subject, list) else None


def items_of(task: Task[Any], config: ListSettings) -> list[JsonValue]:
    """All items of the list; raises `NodeFailure` `no_list` where there is none."""
    found = list_in(task, config.array_path)
    if found is None:
        raise NodeFailure(f"no_list: the upstream gives no list{_lists_elsewhere(task.subject)}")
    return found


def listed(items: Sequence[JsonValue], config: ListSettings, **more: JsonValue) -> Output:
    """Items as an output, as many as the settings allow."""
    kept = list(items[: config.max_items])
    return structured({"items": kept, "count": len(kept), **more, "truncated": len(items) > len(kept)})


def structured(data: JsonObject, text: JsonValue = None) -> Output:
    """Data as an output; the text is the JSON of its main part, for nodes that read text."""
    main = data.get("items", data.get("value", data)) if text is None else text
    return Output(text=main if isinstance(main, str) else compact_json(main), artifact_kind="json", data=data)


def _lists_elsewhere(subject: JsonValue) -> str:
    if not isinstance(subject, dict):
        return ""
    keys = [key for key, value in subject.items() if isinstance(value, list)][:5]
    return f"; set arrayPath to one of: {', '.join(keys)}" if keys else ""
