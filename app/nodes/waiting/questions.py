"""What people are asked: the question that a node waits with, and the answer as it gives it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field, JsonValue

from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.workflow import NodeFailure, Park, WaitingReason
from app.workflow.values import JsonObject

#: Longest wait for an answer that has an end: a year.
LONGEST_WAIT_MS = 365 * 86_400_000
#: Most characters of what came in that are shown with the question.
LONGEST_CONTEXT = 10_000

Value = TypeVar("Value")


class Question(NodeSettings):
    """A question to a person, how long it stands, and what happens when nobody answers.

    Without an end it stands until the run is cancelled. `timeoutMs` is the limit of a node's work, not of
    its waiting.
    """

    prompt: str = Field(default="", validation_alias=spelled("prompt", "question", "message", "instructions"))
    expires_in_ms: int | None = Field(
        default=None, ge=1, le=LONGEST_WAIT_MS, validation_alias=spelled("expiresInMs", "waitMs")
    )
    on_timeout: Literal["fail", "continue"] = "fail"


@dataclass(frozen=True)
class Given(Generic[Value]):
    """What a person said, who and when; or that nobody said anything in time."""

    value: Value
    by: JsonValue = None
    at: JsonValue = None
    timed_out: bool = False

    @property
    def record(self) -> JsonObject:
        """What the node's output tells of it."""
        return {"answeredBy": self.by, "answeredAt": self.at, "timedOut": self.timed_out}


def answer_to(
    task: Task[Any],
    question: Question,
    ask: JsonObject,
    read: Callable[[JsonValue], Value],
    default: Callable[[], Value],
) -> Given[Value]:
    """The answer to a node's question, `ask` being its form; the first time the node is parked.

    `read` raises ValueError, in words for who answered, for an answer that can't be used: the question then
    stands as before, and says what was wrong. Raises `Park`, or `NodeFailure` `no_answer` when time is up.
    """
    ask = {"prompt": question.prompt, "context": task.text[:LONGEST_CONTEXT], **ask}
    if task.memo is None:
        raise _park(ask, question.expires_in_ms)
    if task.answer is None:
        if question.on_timeout == "fail":
            raise NodeFailure("no_answer")
        return Given(default(), timed_out=True)
    try:
        value = read(task.answer["data"])
    except ValueError as error:
        raise _park({**ask, "problem": str(error)}, _left_ms(task.memo)) from None
    return Given(value, task.answer.get("by"), task.answer.get("at"))


def _park(ask: JsonObject, wait_ms: int | None) -> Park:
    delay = None if wait_ms is None else timedelta(milliseconds=wait_ms)
    expires_at = None if delay is None else (datetime.now(UTC) + delay).isoformat()
    return Park(WaitingReason.HUMAN_INPUT, delay, memo={"expiresAt": expires_at}, ask=ask)


def _left_ms(memo: JsonObject) -> int | None:
    """How much of the first wait is left."""
    expires_at = memo.get("expiresAt")
    if not isinstance(expires_at, str):
        return None
    return max((datetime.fromisoformat(expires_at) - datetime.now(UTC)) // timedelta(milliseconds=1), 0)
