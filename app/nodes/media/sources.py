"""Where the media are that nodes work on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from app.nodes.task import Task
from app.workflow import NodeFailure


def url_of_parent(task: Task[Any], kinds: Collection[str]) -> str:
    """The address of the first parent's medium that is of one of these kinds.

    Raises `NodeFailure` `missing_required` where no parent has one.
    """
    for _, given in task.work.parents:
        url = given.get("url")
        if given.get("mediaType") in kinds and isinstance(url, str) and url:
            return url
    raise NodeFailure(f"missing_required: a parent that gives {' or '.join(sorted(kinds))}")
