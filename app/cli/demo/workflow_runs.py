"""One workflow run of the demo: how it is queued, how far it is, and how it should have ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.scenario import Tally
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow, run_by_schedule

_FIND = """
    SELECT r.status, r.metadata #>> '{result,error,code}',
           (SELECT jsonb_object_agg(n.label, s.status) FROM lenses.workflow_node_results s
            JOIN lenses.workflow_nodes n ON n.id = s.node_id WHERE s.run_id = r.id),
           (SELECT jsonb_agg(jsonb_build_array(e.event_id, e.type, coalesce(n.label, ''),
                       extract(epoch FROM e.created_at - r.created_at) * 1000) ORDER BY e.event_id)
            FROM lenses.workflow_run_events e
            LEFT JOIN lenses.workflow_nodes n ON n.id::text = e.payload ->> 'nodeId' WHERE e.run_id = r.id),
           (SELECT EXTRACT(epoch FROM min(c.first_claimed_at) - r.created_at)::float * 1000
            FROM worker.claims c WHERE c.kind = 'workflow_run' AND c.job = r.id)
    FROM lenses.workflow_runs r WHERE r.id = %s OR r.schedule_id = %s ORDER BY r.created_at LIMIT 1
"""
_WAITING, _RUNNING = ("pending", "queued"), ("running", "streaming", "recovered")
_NODE_ENDS = ("completed", "skipped", "failed")


class Event(NamedTuple):
    """One event of a run; `at_ms` is the time since the run was made."""

    number: int
    type: str
    node: str
    at_ms: float


class Seen(NamedTuple):
    """A run as the database has it; `pickup_ms` is the time from its creation to its first claim."""

    status: str
    error_code: str | None
    nodes: Mapping[str, str]
    events: Sequence[Event]
    pickup_ms: float | None

    @property
    def has_ended(self) -> bool:
        """Whether it came to an end, whatever it was."""
        return self.status not in _WAITING + _RUNNING


@dataclass
class RunCase:
    """A run, of the API or of a schedule; `expected` is the status or error code that it must end with.

    It is of the branching workflow unless `nodes` are given. `ways` are the nodes of which just the first is
    to be completed.
    """

    label: str
    outcome: str
    inputs: Mapping[str, Any]
    expected: str = "completed"
    ways: Sequence[str] = ()
    nodes: Mapping[str, NodeSeed] | None = None
    edges: Sequence[EdgeSeed] | None = None
    is_scheduled: bool = False
    run_id: UUID | None = None
    schedule_id: UUID | None = None

    def queue(self, session: connection) -> None:
        """Make the workflow, and have it run."""
        workflow_id = make_workflow(session, self.nodes, self.edges).workflow_id
        if self.is_scheduled:
            self.schedule_id = run_by_schedule(session, workflow_id, inputs=self.inputs)
        else:
            self.run_id = enqueue_workflow_run(session, workflow_id, inputs=self.inputs)

    def look(self, session: connection) -> Seen:
        """What there is of the run."""
        with session.cursor() as row:
            row.execute(_FIND, (self.run_id, self.schedule_id))
            status, error_code, nodes, events, pickup_ms = row.fetchone() or ("gone", None, {}, [], None)
        return Seen(status, error_code, nodes or {}, [Event(*event) for event in events or ()], pickup_ms)

    def tally(self, seen: Seen, further_surprises: Sequence[str] = ()) -> Tally:
        """How far the run is, and once it has ended, what differs from what it should be."""
        if not seen.has_ended:
            is_waiting = seen.status in _WAITING
            return Tally(self.label, self.outcome, queued=int(is_waiting), running=int(not is_waiting))
        succeeded = seen.status == "completed"
        return Tally(
            self.label,
            self.outcome,
            succeeded=int(succeeded),
            failed=int(not succeeded),
            surprises=(*self._surprises(seen), *further_surprises),
            pickups_ms=() if seen.pickup_ms is None else (seen.pickup_ms,),
        )

    def _surprises(self, seen: Seen) -> Iterator[str]:
        ended_as = seen.error_code or seen.status
        if ended_as != self.expected:
            yield f"ended as {ended_as} instead of {self.expected}"
        gone_by = [way for way in self.ways if seen.nodes.get(way) == "completed"]
        if gone_by != list(self.ways[:1]):
            yield f"went by {gone_by} instead of {self.ways[0]}"
        open_nodes = [name for name, status in seen.nodes.items() if status not in _NODE_ENDS]
        if open_nodes:
            yield f"left {', '.join(open_nodes)} without an end"


def disorder(events: Sequence[Event]) -> str | None:
    """What is wrong with the order of an ended run's events, or None.

    They are numbered without a gap, begin with the run's start, and each node starts before it ends.
    """
    if [event.number for event in events] != list(range(1, len(events) + 1)):
        return f"its events are numbered {', '.join(str(event.number) for event in events)}"
    if not events or events[0].type != "run.started":
        return "its events don't begin with its start"
    started: set[str] = set()
    for event in events:
        if event.type == "node.started":
            started.add(event.node)
        if event.type == "node.completed" and event.node not in started:
            return f"{event.node} was completed before it was started"
    if not any(event.type == "run.completed" for event in events):
        return "its events don't tell of its end"
    return None
