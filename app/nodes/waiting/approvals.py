"""Waiting for a person's approval."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from app.nodes.registry import Effect, node_type
from app.nodes.settings import spelled
from app.nodes.task import Task
from app.nodes.waiting.questions import Question, answer_to
from app.workflow import NodeFailure, Output
from app.workflow.values import JsonObject

_YES = {"approve", "approved", "yes", "true"}
_NO = {"reject", "rejected", "no", "false"}


class Decision(BaseModel):
    """A person's word on whether to go on."""

    model_config = ConfigDict(frozen=True)

    approved: bool
    comment: str | None = Field(default=None, max_length=4000)

    @classmethod
    def read(cls, said: JsonValue) -> Decision:
        """The decision in an answer: {approved, comment}, a boolean, or a word; raises ValueError."""
        if isinstance(said, str):
            word = said.strip().lower()
            said = word in _YES if word in _YES | _NO else said
        try:
            return cls.model_validate(said if isinstance(said, dict) else {"approved": said}, strict=True)
        except ValidationError:
            raise ValueError("say whether it is approved: {approved: true or false, comment}") from None


class Approval(Question):
    """A question of yes or no; a no fails the node, or stops the workflow, or is left to the edges."""

    on_reject: Literal["fail", "stop", "continue"] = "fail"
    default: bool = Field(default=False, validation_alias=spelled("default", "defaultValue"))


@node_type(
    "approval",
    "human_approval",
    config=Approval,
    gives=("approved", "branch", "comment", "answeredBy", "answeredAt", "timedOut"),
    effect=Effect.WAITS,
)
def approve(task: Task[Approval]) -> Output:
    """Wait for a person's approval, and pass the first parent's text on; `branch` is approved or rejected."""
    given = answer_to(
        task,
        task.config,
        {"kind": "approval"},
        Decision.read,
        lambda: Decision(approved=task.config.default),
    )
    decision = given.value
    branch = "approved" if decision.approved else "rejected"
    data: JsonObject = {"approved": decision.approved, "branch": branch, "comment": decision.comment}
    data |= given.record
    if not decision.approved and task.config.on_reject == "fail":
        raise NodeFailure("approval_rejected", output_data=data)
    halts = not decision.approved and task.config.on_reject == "stop"
    return Output(text=task.text, artifact_kind="json", data=data, halt=halts)
