"""Where files lie in Storage: each workflow has a folder of its own and can name nothing outside of it."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from app.workflow.values import JsonObject, stringify

#: Longest key below a workflow's folder, and most folders in it.
LONGEST_CHARS = 512
MOST_PARTS = 10

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]{1,200}?)\s*\}\}")
#: Neither a leading dot nor anything that a URL or a path reads in its own way.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,=@+ -]{0,127}(?<! )")
_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")


def folder_of(workflow_id: UUID) -> str:
    """The folder of a workflow, with a slash at its end."""
    return f"workflows/{workflow_id}/"


def expand(template: str, names: JsonObject) -> str:
    """Fill the placeholders of a template; a value never adds a folder, whatever it holds."""

    def fill(found: re.Match[str]) -> str:
        return _OTHER.sub("-", stringify(names.get(found[1]))).strip(".-")[:100]

    return _PLACEHOLDER.sub(fill, template)


def check_key(key: str) -> str:
    """A key below a workflow's folder; raises ValueError for one that leads out of it, or reads oddly."""
    parts = key.split("/")
    if len(key) > LONGEST_CHARS or len(parts) > MOST_PARTS or not all(map(_PART.fullmatch, parts)):
        raise ValueError(
            "an object key has up to ten parts of letters, digits and _ . , = @ + - with slashes between them"
        )
    return key


def check_template(template: str) -> str:
    """A template of such a key, whatever its placeholders stand for; raises ValueError like `check_key`."""
    check_key(_PLACEHOLDER.sub("x", template))
    return template


def standing_names(workflow_id: UUID, run_id: UUID, node_id: UUID, started_at: datetime) -> JsonObject:
    """What every template may name; the same whenever and wherever a run goes on."""
    return {
        "workflowId": str(workflow_id),
        "runId": str(run_id),
        "nodeId": str(node_id),
        "date": started_at.strftime("%Y-%m-%d"),
        "time": started_at.strftime("%H-%M-%S"),
    }
