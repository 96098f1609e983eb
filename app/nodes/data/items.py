"""Where nodes that work on lists find theirs, and how they give one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any

from pydantic import Field, JsonValue

from app.nodes.settings import NodeSettings, capped
from app.nodes.task import Task
from app.texts.answers import block_in
from app.workflow import NodeFailure, Output
from app.workflow.paths import Missing
from app.workflow.resolver import Source
from app.workflow.values import JsonObject, compact_json

#: Most items that a node looks at.
MOST_ITEMS = 1000
#: Under which keys nodes keep the list that they give: lists, parsed texts, answers of servers, other runs.
LIST_KEYS = ("items", "value", "data", "result")


class ListSettings(NodeSettings):
    """Where the list is; without a path it is the upstream's data itself, or in there under `items`."""

    array_path: str = ""
    max_items: Annotated[int, capped(1, MOST_ITEMS)] = Field(default=MOST_ITEMS, ge=1, le=MOST_ITEMS)


def list_in(task: Task[Any], array_path: str) -> list[JsonValue] | None:
    """The list that a node is to work on, None where there is none.

    Raises `NodeFailure` `no_list` if a path is given and doesn't lead to one.
    """
    if array_path.strip():
        found = task.source.find(array_path)
        found = block_in(found) if isinstance(found, str) else found
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


def list_about(task: Task[Any], array_path: str, paths: Collection[str]) -> list[JsonValue] | None:
    """The list whose items some paths are about; None where they are about the upstream itself.

    A path that leads to something in the upstream's data is about that, then come the items of its list, and
    then what is stored of the upstream beside its data. Raises `NodeFailure` `no_list`.
    """
    source = task.source
    is_about_data = any(_leads(source.find_in_value(path)) for path in paths)
    if is_about_data and isinstance(source.value, dict) and not array_path.strip():
        return None
    items = list_in(task, array_path)
    if items is None or array_path.strip():
        return items
    is_about_items = any(_leads(Source(item).find(path)) for item in items for path in paths)
    return None if not is_about_items and any(_leads(source.find(path)) for path in paths) else items


def _leads(found: JsonValue | Missing) -> bool:
    return not isinstance(found, Missing)


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
