"""Names in `{{…}}`: values of the run, and of nodes by their id, as settings of data nodes write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import JsonValue

from app.nodes.task import Task
from app.workflow import data_of
from app.workflow.paths import Missing, segments, value_at, walk
from app.workflow.values import JsonObject

TOKEN = re.compile(r"\{\{\s*([^{}]{1,500}?)\s*\}\}")
_SUFFIXES: dict[str, Callable[[JsonObject], JsonValue]] = {
    "_text": lambda output: output.get("output"),
    "_data": lambda output: data_of(output) or dict(output),
}


def resolve(task: Task[Any], path: str) -> JsonValue | Missing:
    """What a path names: a label, with what is below it, or `<node id>.<path>`, or a node's text or data.

    A label wins over a node, and a path that is itself the name of a label over one that walks into it.
    """
    labels = task.work.labels
    if path in labels:
        return labels[path]
    found = walk(labels, list(segments(path)))
    return _of_node(task, path) if isinstance(found, Missing) else found


def _of_node(task: Task[Any], path: str) -> JsonValue | Missing:
    name, _, rest = path.partition(".")
    output = task.work.outputs.get(name.lower())
    if output is not None:
        found = walk(data_of(output), list(segments(rest)))
        return value_at(output, rest) if isinstance(found, Missing) or not rest else found
    for suffix, take in _SUFFIXES.items():
        output = task.work.outputs.get(name.removesuffix(suffix).lower()) if name.endswith(suffix) else None
        if output is not None:
            return walk(take(output), list(segments(rest)))
    return Missing()
