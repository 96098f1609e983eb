"""The statuses of nodes and runs, and how a run's status follows from its nodes'."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class NodeStatus(StrEnum):
    """Every status a row of `lenses.workflow_node_results` may have."""

    PENDING = "pending"
    AWAITING_DEPENDENCY = "awaiting_dependency"
    QUEUED = "queued"
    RUNNING = "running"
    STREAMING = "streaming"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    TIMED_OUT = "timed_out"
    BLOCKED = "blocked"
    INVALIDATED = "invalidated"

    @property
    def is_terminal(self) -> bool:
        """Whether a node of this status is done for good."""
        return self in _TERMINAL


class RunStatus(StrEnum):
    """The statuses a run can end in; the others of `lenses.workflow_runs` come before."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class SkipReason(StrEnum):
    """Why a node was skipped."""

    PARENT_NOT_SUCCESSFUL = "parent_not_successful"
    BRANCH_NOT_TAKEN = "branch_not_taken"
    WORKFLOW_HALTED = "workflow_halted"


class ParentFailurePolicy(StrEnum):
    """What a node does when a direct parent ended in anything but `completed`."""

    SKIP = "skip"
    PROPAGATE = "propagate"
    SUBSTITUTE_DEFAULT = "substitute_default"


class Stop(StrEnum):
    """Why a whole run is ended from outside, and the status that gives it."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    OVER_BUDGET = "over_budget"


_FAILURES = {NodeStatus.FAILED, NodeStatus.TIMED_OUT, NodeStatus.BLOCKED, NodeStatus.INVALIDATED}
_TERMINAL = _FAILURES | {NodeStatus.COMPLETED, NodeStatus.CANCELLED, NodeStatus.SKIPPED}


def run_status(nodes: Iterable[NodeStatus], stop: Stop | None = None) -> RunStatus:
    """How a run ends whose nodes ended like this: a stop wins, then `cancelled`, then any failure.

    Skipped nodes don't fail a run, and a run without nodes is completed.
    """
    if stop is not None:
        return RunStatus.TIMED_OUT if stop is Stop.TIMED_OUT else RunStatus.CANCELLED
    found = set(nodes)
    if NodeStatus.CANCELLED in found:
        return RunStatus.CANCELLED
    return RunStatus.FAILED if found & _FAILURES else RunStatus.COMPLETED
