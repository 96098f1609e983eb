"""Fill the placeholders in a node's settings: `{{path}}` and `[[node.path]]`, both in one pass.

They are looked for in the settings as they are stored, so what another node gave is never read as a
placeholder again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import JsonValue

from app.nodes.data.references import TOKEN, resolve
from app.nodes.registry import spellings_of
from app.nodes.task import Task
from app.workflow.paths import Missing
from app.workflow.references import fill, fill_text
from app.workflow.values import stringify

#: Makes a text that is put in harmless at its place.
Escape = Callable[[str], str]


def filled_text(task: Task[Any], field: str, escape: Escape = str) -> str:
    """The text of a setting with its placeholders filled; what they don't find is empty."""
    return _fill_text(task, stringify(stored(task, field)), escape)


def filled_value(task: Task[Any], field: str) -> JsonValue:
    """A setting with the placeholders of every text in it filled; one that stands alone keeps its type."""
    return _fill_value(task, stored(task, field))


def stored(task: Task[Any], field: str) -> JsonValue:
    """A setting as its author wrote it; None where it isn't there."""
    settings, model = task.node.config.settings, type(task.config)
    spellings = spellings_of(field, model.model_fields[field])
    return next((settings[spelling] for spelling in spellings if spelling in settings), None)


def _fill_value(task: Task[Any], value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {_fill_text(task, key): _fill_value(task, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill_value(task, inner) for inner in value]
    if not isinstance(value, str):
        return value
    alone = TOKEN.fullmatch(value.strip())
    if alone:
        found = resolve(task, alone[1])
        return None if isinstance(found, Missing) else found
    return _fill_text(task, value) if TOKEN.search(value) else fill(value, task.work.outputs)


def _fill_text(task: Task[Any], template: str, escape: Escape = str) -> str:
    pieces = TOKEN.split(template)
    return "".join(
        escape(_found(task, piece)) if place % 2 else fill_text(piece, task.work.outputs, escape)
        for place, piece in enumerate(pieces)
    )


def _found(task: Task[Any], path: str) -> str:
    found = resolve(task, path)
    return "" if isinstance(found, Missing) else stringify(found)
