"""Workflow runs in the demo: both ways of a branch, messages sent, a graph that can't be run, live events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.post import Post
from app.cli.demo.scenario import Tally
from app.local.provider_server import ProviderServer
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_schedule, make_workflow

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
    FROM lenses.workflow_runs r WHERE r.id = %s OR r.schedule_id = %s ORDER BY r.created_at LIMIT 1
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
    """One run, of the API or of a schedule; `expected` is its status or its error code.

    `way` is the node that it should go by.
    """

    label: str
    inputs: Mapping[str, Any]
    expected: str
    way: str | None = None
    nodes: Mapping[str, NodeSeed] | None = None
    edges: Sequence[EdgeSeed] | None = None
    run_id: UUID | None = None
    has_schedule: bool = False
    schedule_id: UUID | None = None
    is_posted: bool = False


class Workflows:
    """Runs of a schedule and of the API to their ends; what happens and what arrives is said at once."""

    kind = "workflow_run"

    def __init__(self, say: Callable[[str], None], post: Post) -> None:
        self._say = say
        self._said: set[str] = set()
        self._post = post
        given = {"language": "English", "text": "All that is to be said."}
        rocket = {"rocket": NodeSeed({"nodeType": "launch_rocket"})}
        self._cases = [
            _Case(
                "branching, scheduled", {"name": "Ada", **given}, "completed", way="greet", has_schedule=True
            ),
            _Case(
                "mail and chats, scheduled",
                {"name": "Ada", **given},
                "completed",
                nodes=post.nodes,
                edges=post.edges,
                has_schedule=True,
                is_posted=True,
            ),
            _Case("branching, other way", {"name": "Grace", **given}, "completed", way="summarise"),
            _Case("unknown node type", {}, "workflow.invalid", nodes=rocket),
        ]

    def queue(self, session: connection, _providers: ProviderServer) -> None:
        """Make a workflow for each case, and have it run."""
        for case in self._cases:
            workflow_id = make_workflow(session, case.nodes, case.edges).workflow_id
            if case.has_schedule:
                case.schedule_id = make_schedule(session, workflow_id, inputs_template=dict(case.inputs))
            else:
                case.run_id = enqueue_workflow_run(session, workflow_id, inputs=case.inputs)
        with session.cursor() as row:
            # The sweep of the minute would do so too.
            row.execute("SELECT worker.dispatch_schedules_once()")

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each run is."""
        found = [(case, _look(session, case)) for case in self._cases]
        if found[0][1] is not None:
            self._tell(f"workflow event {event}" for event in found[0][1].events)
        self._tell(f"arrived by {place}: {text}" for place, text in self._post.arrived())
        return [_tally(case, seen, self._post) for case, seen in found]

    def _tell(self, lines: Iterable[str]) -> None:
        """Say what has not been said."""
        for line in lines:
            if line not in self._said:
                self._said.add(line)
                self._say(line)


def _look(session: connection, case: _Case) -> _Seen | None:
    """What there is of a case's run, or None while its schedule has none."""
    with session.cursor() as row:
        row.execute(_FIND, (case.run_id, case.schedule_id))
        found = row.fetchone()
    return _Seen._make(found) if found else None


def _tally(case: _Case, seen: _Seen | None, post: Post) -> Tally:
    if seen is None or seen.status in _WAITING:
        return Tally(case.label, queued=1)
    if seen.status in _RUNNING:
        return Tally(case.label, running=1)
    succeeded = seen.status == "completed"
    return Tally(
        case.label,
        succeeded=int(succeeded),
        failed=int(not succeeded),
        surprises=(*_surprises(case, seen), *(post.surprises(case.inputs["name"]) if case.is_posted else ())),
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
