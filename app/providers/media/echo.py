"""Media of the echo provider: the prompt itself, as a text file; offline and keyless."""

from __future__ import annotations

from app.providers.media.base import Finished, Media, Order, Pending, Task, Wishes

ECHO_MIME = "text/plain"

#: Whatever is wished for, it is the prompt.
HONOURS = frozenset(Wishes.model_fields)
TAKES_SOURCE = True


def submit(order: Order, key: str, timeout_seconds: float) -> Finished:  # noqa: ARG001 (asks nobody)
    """Answer with the prompt."""
    return Finished(Media(ECHO_MIME, content=order.prompt.encode()))


def poll(task: Task, key: str, timeout_seconds: float) -> Pending | Finished:  # noqa: ARG001 (asks nobody)
    """Answer with the task's name: whoever asked before the echo took over."""
    return Finished(Media(ECHO_MIME, content=task.task_id.encode()))
