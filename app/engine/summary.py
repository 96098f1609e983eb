"""How a run ended, as its row, its schedule and its followers are told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pydantic import JsonValue

from app.errors import GiveUp
from app.platform.run_events import RunEvent, RunEventType
from app.workflow import Graph, NodeId, NodeResult, NodeStatus, Progress, RunStatus

_EVENTS = {
    RunStatus.COMPLETED: RunEventType.RUN_COMPLETED,
    RunStatus.FAILED: RunEventType.RUN_FAILED,
    RunStatus.CANCELLED: RunEventType.RUN_CANCELLED,
    RunStatus.TIMED_OUT: RunEventType.RUN_TIMED_OUT,
}
#: What is not told apart further in a word of the run's life.
_LIFECYCLES = {RunStatus.TIMED_OUT: RunStatus.FAILED}


@dataclass(frozen=True)
class Ending:
    """The end of a run: its status, how many nodes ended how, and what went wrong first, if anything did."""

    status: RunStatus
    counts: dict[str, int]
    reason: str | None

    @classmethod
    def of(cls, progress: Progress, reason: str | None = None) -> Ending:
        """The end of a run whose nodes have all ended."""
        counts = Counter(str(result.status) for result in progress.results.values())
        return cls(progress.run_status, dict(counts), reason or _first_failure(progress))

    @property
    def result(self) -> dict[str, JsonValue]:
        """What is kept of it with the run."""
        found: dict[str, JsonValue] = {"nodes": dict(self.counts)}
        return {**found, "reason": self.reason} if self.reason else found

    @property
    def events(self) -> list[RunEvent]:
        """What the run's followers are told of it."""
        told: dict[str, JsonValue] = {
            "status": self.status.value,
            "lifecycle": _LIFECYCLES.get(self.status, self.status).value,
        }
        reason: dict[str, JsonValue] = {"reason": self.reason} if self.reason else {}
        return [
            RunEvent(type=_EVENTS[self.status], payload={**told, **reason}),
            RunEvent(type=RunEventType.RUN_STATUS_CHANGED, payload=told),
        ]

    def raise_if_failed(self) -> None:
        """Raise `GiveUp` `workflow.node_failed` for a run in which a node failed."""
        if self.status is RunStatus.FAILED:
            raise GiveUp("workflow.node_failed", self.reason or "a node failed")


def _first_failure(progress: Progress) -> str | None:
    """What went wrong in the node that comes first in the graph, and in how many."""
    caught = progress.find_caught()
    failed = [
        node_id
        for node_id in _in_order(progress.graph)
        if node_id not in caught and _has_failed(progress.results[node_id])
    ]
    if not failed:
        return None
    first = progress.results[failed[0]]
    others = f"; so did {len(failed) - 1} more" if len(failed) > 1 else ""
    title = progress.graph.nodes[failed[0]].title
    return f"{title} ended as {first.status}: {first.error or 'no reason is known'}{others}"


def _in_order(graph: Graph) -> list[NodeId]:
    return sorted(graph.nodes, key=graph.order.__getitem__)


def _has_failed(result: NodeResult) -> bool:
    return result.status not in (NodeStatus.COMPLETED, NodeStatus.SKIPPED, NodeStatus.CANCELLED)
