"""How a node ends: its result, and the failure that any step of it may raise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from app.errors import GiveUp, JobError, RetryLater, WorkerError
from app.workflow.retries import Cause
from app.workflow.statuses import NodeStatus, SkipReason
from app.workflow.values import JsonObject

#: Keys of a stored output in which a node hands things to the engine; nothing else may set them.
VARIABLES_KEY = "__variables"
HALT_KEY = "__workflow_halt"
CAUGHT_KEY = "__caught"

#: The error of a node that moderation stopped, as readers know it.
MODERATION_BLOCKED = "moderation_blocked"

#: The causes behind the codes of `app.providers`; every other temporary error is a provider's.
_CAUSES = {"provider.timeout": Cause.TIMEOUT, "provider.rate_limited": Cause.RATE_LIMIT}


@dataclass(frozen=True, slots=True)
class NodeResult:
    """The end of a node, as its row stores it; `status` is terminal and `error` short and stable."""

    status: NodeStatus
    output_data: JsonObject | None = None
    error: str | None = None
    skipped_because: SkipReason | None = None

    @property
    def is_completed(self) -> bool:
        """Whether dependents may use the output."""
        return self.status is NodeStatus.COMPLETED

    @property
    def output(self) -> JsonObject:
        """The output of a completed node, empty for every other."""
        return self.output_data or {} if self.is_completed else {}

    @property
    def variables(self) -> JsonObject:
        """What the node sets for all nodes after it."""
        found = self.output.get(VARIABLES_KEY)
        return found if isinstance(found, dict) else {}

    @property
    def halts(self) -> bool:
        """Whether no further node shall start; a node that ends the workflow with an error says so too."""
        return (self.output_data or {}).get(HALT_KEY) is True

    @property
    def caught(self) -> list[str]:
        """The nodes whose failures this one has dealt with, so that they don't fail the run."""
        found = self.output.get(CAUGHT_KEY)
        return [str(node_id) for node_id in found] if isinstance(found, list) else []


class NodeFailure(WorkerError):  # noqa: N818 - an outcome, read aloud in except clauses
    """A node can't be completed; `cause` is None when trying again would end the same way.

    `error` goes into the row's `error_message`, so it holds no key, prompt or input.
    """

    def __init__(
        self,
        error: str,
        *,
        status: NodeStatus = NodeStatus.FAILED,
        output_data: JsonObject | None = None,
        cause: Cause | None = None,
        after_seconds: float | None = None,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.status = status
        self.output_data = output_data
        self.cause = cause
        self.after_seconds = after_seconds

    @property
    def result(self) -> NodeResult:
        """What the node ends in if it isn't tried again."""
        return NodeResult(self.status, self.output_data, self.error)

    @classmethod
    def timed_out(cls, timeout_ms: int) -> NodeFailure:
        """The failure of a node that ran into its own time limit."""
        return cls(f"timed out after {timeout_ms} ms", status=NodeStatus.TIMED_OUT, cause=Cause.TIMEOUT)

    @classmethod
    def moderated(cls, policy: str, categories: Sequence[str]) -> NodeFailure:
        """The failure of a node whose input or output (`policy` says which) moderation does not allow."""
        named: list[JsonValue] = list(categories)
        reason = f"flagged as {', '.join(categories)}" if categories else "flagged"
        verdict: JsonObject = {
            "allowed": False,
            "policy": policy,
            "reason": reason,
            "metadata": {"categories": named},
        }
        return cls(MODERATION_BLOCKED, output_data={"moderation": verdict})

    @classmethod
    def from_job_error(cls, error: JobError) -> NodeFailure:
        """What a lens or a provider raised, in the words of a node: only `RetryLater` is tried again."""
        if isinstance(error, RetryLater):
            cause = _CAUSES.get(error.code, Cause.PROVIDER_ERROR)
            status = NodeStatus.TIMED_OUT if cause is Cause.TIMEOUT else NodeStatus.FAILED
            return cls(str(error), status=status, cause=cause, after_seconds=error.after_seconds)
        if isinstance(error, GiveUp):
            return cls(str(error))
        raise TypeError(f"{type(error).__name__} ends the whole job, not a node") from error
