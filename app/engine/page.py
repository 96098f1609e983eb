"""What one step of a run changes: rows of nodes and events that tell of them, written in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from app.calls import Call
from app.engine.tries import Parked, Tried
from app.platform.run_events import RunEvent, RunEventType
from app.platform.workflows import NodeRow, NodeWrite, Parking
from app.workflow import Cause, Node, NodeId, NodeResult, NodeStatus, Park, Problem
from app.workflow.results import MODERATION_BLOCKED
from app.workflow.values import JsonObject

_ENDS = {
    NodeStatus.COMPLETED: RunEventType.NODE_COMPLETED,
    NodeStatus.FAILED: RunEventType.NODE_FAILED,
    NodeStatus.CANCELLED: RunEventType.NODE_CANCELLED,
    NodeStatus.SKIPPED: RunEventType.NODE_SKIPPED,
    NodeStatus.TIMED_OUT: RunEventType.NODE_TIMED_OUT,
    NodeStatus.BLOCKED: RunEventType.NODE_BLOCKED,
    NodeStatus.INVALIDATED: RunEventType.NODE_INVALIDATED,
}

#: What a node's row says in the middle of a try.
_INTERRUPTED = (NodeStatus.RUNNING, NodeStatus.STREAMING, NodeStatus.RETRYING)


class Page:
    """Collects the changes of one step; the order of its events is the order in which things happened."""

    def __init__(self, nodes: Mapping[NodeId, Node]) -> None:
        self._nodes = nodes
        self.writes: list[NodeWrite] = []
        self.events: list[RunEvent] = []
        self.calls: list[Call] = []

    def __bool__(self) -> bool:
        return bool(self.writes or self.events or self.calls)

    def wait_in_line(self, node_ids: Iterable[NodeId], status: NodeStatus, reason: str) -> None:
        """Nodes wait to be started, which is no event."""
        self.writes += [
            NodeWrite(node_id=UUID(node_id), status=status, waiting_reason=reason) for node_id in node_ids
        ]

    def start(self, node_id: NodeId, number: int) -> None:
        """A try of a node begins, the first or another one."""
        self.writes.append(NodeWrite(node_id=UUID(node_id), status=NodeStatus.RUNNING))
        kind = RunEventType.NODE_STARTED if number == 1 else RunEventType.NODE_RETRIED
        self._tell(kind, node_id, NodeStatus.RUNNING, attempt=number)

    def wait_for_retry(self, tried: Tried, delay_ms: int) -> None:
        """A try failed, and there will be another."""
        assert tried.failure is not None, "only a failed try is followed by another"
        self.calls += tried.calls
        reason = "rate_limit" if tried.failure.cause is Cause.RATE_LIMIT else "retry_backoff"
        self.writes.append(
            NodeWrite(
                node_id=UUID(tried.node_id),
                status=NodeStatus.RETRYING,
                error_message=tried.failure.error,
                waiting_reason=reason,
                retry_count=tried.number,
            )
        )
        self._tell(
            RunEventType.NODE_WAITING,
            tried.node_id,
            NodeStatus.RETRYING,
            reason=reason,
            attempt=tried.number,
            delayMs=delay_ms,
            error=tried.failure.error,
        )

    def park(self, parked: Parked) -> None:
        """A node waits without a thread, as long as it takes."""
        park = parked.park
        self.calls += parked.calls
        self.writes.append(
            NodeWrite(
                node_id=UUID(parked.node_id),
                status=NodeStatus.AWAITING_DEPENDENCY,
                waiting_reason=park.reason.told,
                output_data={"ask": park.ask} if park.ask else None,
                resolved_input_snapshot=parked.labels,
                parked=_parking(park),
            )
        )
        details: JsonObject = {"reason": park.reason.told, "attempt": parked.number}
        if isinstance(park.until, datetime):
            details["dueAt"] = park.until.isoformat()
        elif park.until is not None:
            details["delayMs"] = _milliseconds(park.until)
        if park.ask:
            details["ask"] = park.ask
        self._tell(RunEventType.NODE_WAITING, parked.node_id, NodeStatus.AWAITING_DEPENDENCY, **details)

    def end(self, tried: Tried) -> None:
        """A node's work is done, well or badly."""
        result, usage = tried.result, tried.usage
        self.calls += tried.calls
        self.writes.append(
            NodeWrite(
                node_id=UUID(tried.node_id),
                status=result.status,
                output_data=result.output_data,
                error_message=result.error,
                resolved_input_snapshot=tried.labels,
                provider_route=usage.route if usage else None,
                retry_count=tried.number - 1,
                input_tokens=usage.tokens_in if usage else 0,
                output_tokens=usage.tokens_out if usage else 0,
                cost_credits=usage.cost_credits if usage else 0,
                duration_ms=tried.duration_ms,
            )
        )
        details: JsonObject = {"attempt": tried.number, "durationMs": tried.duration_ms}
        if result.error:
            details["error"] = result.error
        if result.output_data is not None:
            details["output"] = result.output_data
        if result.error == MODERATION_BLOCKED:
            self._tell(RunEventType.MODERATION_FLAGGED, tried.node_id, result.status, **details)
        self._tell(_ENDS[result.status], tried.node_id, result.status, **details)

    def settle(self, settled: Mapping[NodeId, NodeResult]) -> None:
        """Nodes end without having done any work, or in the middle of it with their run."""
        for node_id, result in settled.items():
            self.writes.append(
                NodeWrite(node_id=UUID(node_id), status=result.status, error_message=result.error)
            )
            reason = result.skipped_because or result.error
            self._tell(_ENDS[result.status], node_id, result.status, **({"reason": reason} if reason else {}))

    def tell_of_start(
        self, attempt: int, rows: Collection[NodeRow], *, has_waited: bool, notes: Iterable[Problem] = ()
    ) -> None:
        """The run begins, or goes on after an interruption; going on after a wait is told by its nodes.

        `notes` for the author are told once, when it begins.
        """
        if attempt == 1 or all(row.status == "pending" for row in rows):
            kind = RunEventType.RUN_STARTED
        elif not has_waited or any(row.status in _INTERRUPTED for row in rows):
            kind = RunEventType.RUN_RECOVERED
        else:
            return
        payload: JsonObject = {"status": "running", "lifecycle": "running", "attempt": attempt}
        self.events.append(RunEvent(type=kind, payload=payload))
        if kind is RunEventType.RUN_STARTED:
            self.events += [_logged(note, self._nodes) for note in notes]

    def _tell(self, kind: RunEventType, node_id: NodeId, status: NodeStatus, **details: object) -> None:
        payload = {
            "nodeId": node_id,
            "nodeType": self._nodes[node_id].type,
            "status": status.value,
            "lifecycle": status.value,
            **details,
        }
        self.events.append(RunEvent.model_validate({"type": kind, "payload": payload}))


def refusal(reasons: Mapping[NodeId, str]) -> Page:
    """What a workflow that can't be run changes: the nodes because of which it can't have failed."""
    page = Page({})
    for node_id, reason in reasons.items():
        status = NodeStatus.FAILED
        page.writes.append(NodeWrite(node_id=UUID(node_id), status=status, error_message=reason))
        told: JsonObject = {"nodeId": node_id, "status": status, "lifecycle": status, "error": reason}
        page.events.append(RunEvent(type=RunEventType.NODE_FAILED, payload=told))
    return page


def _logged(note: Problem, nodes: Mapping[NodeId, Node]) -> RunEvent:
    told: JsonObject = {"level": "warning", "code": note.code, "message": note.message}
    for node_id in note.node_ids[:1]:
        told |= {"nodeId": node_id, "nodeType": nodes[node_id].type}
    return RunEvent(type=RunEventType.NODE_LOG, payload=told)


def _parking(park: Park) -> Parking:
    return Parking(
        reason=park.reason.value,
        due_at=park.until if isinstance(park.until, datetime) else None,
        after_ms=max(_milliseconds(park.until), 0) if isinstance(park.until, timedelta) else None,
        memo=park.memo,
        ask=park.ask,
        ticket=park.ticket,
    )


def _milliseconds(delay: timedelta) -> int:
    return delay // timedelta(milliseconds=1)
