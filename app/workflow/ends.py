"""The results of nodes that end without having done any work."""

from __future__ import annotations

from app.workflow.results import NodeResult
from app.workflow.statuses import NodeStatus, SkipReason, Stop

#: The error of a node that fails because a parent did.
UPSTREAM_FAILURE = NodeResult(NodeStatus.FAILED, error="upstream_failure")

_STOPPED = {
    Stop.CANCELLED: NodeResult(NodeStatus.CANCELLED),
    Stop.TIMED_OUT: NodeResult(NodeStatus.TIMED_OUT, error="run_timed_out"),
    Stop.OVER_BUDGET: NodeResult(NodeStatus.CANCELLED, error="budget_exceeded"),
}


def skipped(reason: SkipReason) -> NodeResult:
    """The result of a node that is skipped."""
    return NodeResult(NodeStatus.SKIPPED, skipped_because=reason)


def stopped(stop: Stop) -> NodeResult:
    """The result of a node that a stop of the whole run has ended."""
    return _STOPPED[stop]


def is_over_budget(budget_credits: int | None, spent_credits: int, pending_credits: int = 0) -> bool:
    """Whether a run has to stop before its next node; without a budget it never has to.

    `pending_credits` is what nodes at work are expected to cost.
    """
    return budget_credits is not None and spent_credits + pending_credits > budget_credits
