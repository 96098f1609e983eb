"""Waiting for a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from app.nodes.registry import Effect, node_type
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Output, Park, WaitingReason

#: Longest delay: a day.
LONGEST_DELAY_MS = 86_400_000


def _zoned(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


class Delay(NodeSettings):
    """How long to wait; a time wins over a number of milliseconds, and is in UTC unless it says otherwise."""

    delay_ms: int = Field(default=0, ge=0, le=LONGEST_DELAY_MS)
    delay_until: Annotated[datetime, AfterValidator(_zoned)] | None = Field(
        default=None, validation_alias=spelled("delayUntil", "until")
    )


@node_type("wait_delay", "delay", "wait", config=Delay, gives=("delayMs", "completedAt"), effect=Effect.WAITS)
def wait(task: Task[Delay]) -> Output:
    """Wait for a while, or until a time, a day at most; then pass the first parent's text on."""
    now = datetime.now(UTC)
    if task.memo is not None:
        return _waited(task, task.memo.get("delayMs"), now)
    until = task.config.delay_until
    delay = until - now if until else timedelta(milliseconds=task.config.delay_ms)
    delay_ms = max(delay // timedelta(milliseconds=1), 0)
    if delay_ms > LONGEST_DELAY_MS:
        raise NodeFailure("delay_too_long")
    if not delay_ms:
        return _waited(task, 0, now)
    raise Park(WaitingReason.TIMER, until or delay, memo={"delayMs": delay_ms})


def _waited(task: Task[Delay], delay_ms: JsonValue, now: datetime) -> Output:
    return Output(text=task.text, data={"delayMs": delay_ms, "completedAt": now.isoformat()})
