"""Names in `{{…}}`: values of the run, of nodes by their id, and of the upstream."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import JsonValue

from app.nodes.task import Task
from app.workflow import data_of
from app.workflow.paths import MISSING, Missing, segments, walk
from app.workflow.resolver import Source, value_at
from app.workflow.values import JsonObject

TOKEN = re.compile(r"\{\{\s*([^{}]{1,500}?)\s*\}\}")
_SUFFIXES: dict[str, Callable[[JsonObject], JsonValue]] = {
    "_text": lambda output: output.get("output"),
    "_data": lambda output: data_of(output) or dict(output),
}


def resolve(task: Task[Any], path: str) -> JsonValue | Missing:
    """What a name stands for: a label, `<node id>.<path>`, a node's text or data, or a path in the upstream.

    The first that is there wins, and a label that is called like the whole path over one that it leads into.
    """
    labels = task.work.labels
    if path in labels:
        return labels[path]
    found = walk(labels, list(segments(path)))
    if isinstance(found, Missing):
        found = _of_node(task, path)
    return task.source.find(path) if isinstance(found, Missing) and task.work.parents else found


def _of_node(task: Task[Any], path: str) -> JsonValue | Missing:
    name, _, rest = path.partition(".")
    output = task.work.outputs.get(name.lower())
    if output is not None:
        found = Source.of_output(output).find(rest) if rest else MISSING
        return value_at(output, rest) if isinstance(found, Missing) else found
    for suffix, take in _SUFFIXES.items():
        output = task.work.outputs.get(name.removesuffix(suffix).lower()) if name.endswith(suffix) else None
        if output is not None:
            return walk(take(output), list(segments(rest)))
    return MISSING
