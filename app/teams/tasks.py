"""The task that a team shares, from the inputs of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from app.errors import GiveUp
from app.templates import render_tokens

#: Inputs that may hold the task, the first with any text in it.
TASK_KEYS = ("task", "prompt", "goal")


@dataclass(frozen=True)
class SharedTask:
    """What is to be done, and what else was given with it."""

    text: str
    given: Mapping[str, JsonValue]


def read_task(inputs: Mapping[str, JsonValue]) -> SharedTask:
    """The task with `[[label]]` replaced by the other inputs; raises `GiveUp` `team.no_task` without one."""
    for key in TASK_KEYS:
        text = inputs.get(key)
        if isinstance(text, str) and text.strip():
            others = {label: value for label, value in inputs.items() if label != key}
            return SharedTask(render_tokens(text, others), others)
    raise GiveUp("team.no_task", f"the run has no workflow, and no {', '.join(TASK_KEYS)} among its inputs")
