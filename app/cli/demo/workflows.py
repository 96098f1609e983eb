"""Workflow runs in the demo: each way of a branching graph, a graph that can't be run, and live events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.scenario import Tally
from app.local.provider_server import ProviderServer
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow

#: What switches the executor of workflow runs on.
WORKFLOW_ENVIRONMENT = {"PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true"}

_FIND = """
    SELECT r.status, r.metadata #>> '{result,error,code}',
           (SELECT jsonb_object_agg(n.label, s.status) FROM lenses.workflow_node_results s
            JOIN lenses.workflow_nodes n ON n.id = s.node_id WHERE s.run_id = r.id),
           array(SELECT concat_ws(' ', e.event_id, e.type, n.label) FROM lenses.workflow_run_events e
                 LEFT JOIN lenses.workflow_nodes n ON n.id::text = e.payload ->> 'nodeId'
                 WHERE e.run_id = r.id ORDER BY e.event_id),
           (SELECT EXTRACT(epoch FROM min(c.first_claimed_at) - r.created_at)::float * 1000
            FROM worker.claims c WHERE c.kind = 'workflow_run' AND c.job = r.id)
    FROM lenses.workflow_runs r WHERE r.id = %s
"""
_WAITING, _RUNNING = ("pending", "queued"), ("running", "streaming", "recovered")
_NODE_ENDS = ("completed", "skipped", "failed")
_WAYS = ("greet", "summarise")


class _Seen(NamedTuple):
    status: str
    error_code: str | None
    nodes: dict[str, str]
    events: list[str]
    pickup_ms: float | None


@dataclass
class _Case:
    """One run; `expected` is its status or its error code, and `way` the node that it should go by."""

    label: str
    inputs: Mapping[str, Any]
    expected: str
    way: str | None = None
    nodes: Mapping[str, NodeSeed] | None = None
    run_id: UUID | None = None


class Workflows:
    """Runs of the API to their ends; the events of the first are said as they arrive."""

    kind = "workflow_run"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said = 0
        given = {"language": "English", "text": "All that is to be said."}
        rocket = {"rocket": NodeSeed({"nodeType": "launch_rocket"})}
        self._cases = [
            _Case("branching, one way", {"name": "Ada", **given}, "completed", way="greet"),
            _Case("branching, the other", {"name": "Grace", **given}, "completed", way="summarise"),
            _Case("unknown node type", {}, "workflow.invalid", nodes=rocket),
        ]

    def queue(self, session: connection, _providers: ProviderServer) -> None:
        """Make a workflow for each case and ask for a run of it."""
        for case in self._cases:
            workflow = make_workflow(session, case.nodes)
            case.run_id = enqueue_workflow_run(session, workflow.workflow_id, inputs=case.inputs)

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each run is."""
        found = [(case, _look(session, case.run_id)) for case in self._cases if case.run_id]
        self._tell(found[0][1].events)
        return [_tally(case, seen) for case, seen in found]

    def _tell(self, events: Sequence[str]) -> None:
        """Say the events that have not been said."""
        for event in events[self._said :]:
            self._say(f"workflow event {event}")
        self._said = len(events)


def _look(session: connection, run_id: UUID) -> _Seen:
    with session.cursor() as row:
        row.execute(_FIND, (str(run_id),))
        return _Seen._make(row.fetchone() or ())


def _tally(case: _Case, seen: _Seen) -> Tally:
    if seen.status in _WAITING:
        return Tally(case.label, queued=1)
    if seen.status in _RUNNING:
        return Tally(case.label, running=1)
    succeeded = seen.status == "completed"
    return Tally(
        case.label,
        succeeded=int(succeeded),
        failed=int(not succeeded),
        surprises=tuple(_surprises(case, seen)),
        pickups_ms=() if seen.pickup_ms is None else (seen.pickup_ms,),
    )


def _surprises(case: _Case, seen: _Seen) -> list[str]:
    problems = []
    ended_as = seen.error_code or seen.status
    if ended_as != case.expected:
        problems.append(f"ended as {ended_as} instead of {case.expected}")
    gone_by = [way for way in _WAYS if seen.nodes.get(way) == "completed"]
    if case.way and gone_by != [case.way]:
        problems.append(f"went by {gone_by} instead of {case.way}")
    open_nodes = [name for name, status in seen.nodes.items() if status not in _NODE_ENDS]
    if open_nodes:
        problems.append(f"left {', '.join(open_nodes)} without an end")
    return problems
