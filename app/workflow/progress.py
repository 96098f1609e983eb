"""How far a run is: what may start, what has ended, and when the whole run has.

Advancing costs what the ended node's own edges cost, whatever the size of the graph. A `Progress` belongs to
one thread; it does no work itself and knows no time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum

from app.workflow.ends import UPSTREAM_FAILURE, skipped, stopped
from app.workflow.gates import decide
from app.workflow.graph import Graph, Node, NodeId
from app.workflow.results import NodeResult
from app.workflow.scopes import EMPTY, Scope, extended, joined
from app.workflow.statuses import NodeStatus, RunStatus, SkipReason, Stop, run_status


class Standing(Enum):
    """Where a run as a whole stands."""

    RUNNING = "nodes are ready or at work"
    PARKED = "all that is left waits for a time or a person"
    FINISHED = "every node has ended"


@dataclass(frozen=True)
class Advance:
    """What one step forward brought: nodes that may start, and nodes that ended without starting."""

    ready: tuple[NodeId, ...] = ()
    settled: Mapping[NodeId, NodeResult] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """A node that starts, and the ended nodes it may look at.

    `failures` are those of its parents, and those because of which a parent was skipped, the nearest first.
    """

    node: Node
    graph: Graph
    upstream: Mapping[NodeId, NodeResult]
    scope: Scope
    failures: Mapping[NodeId, NodeResult] = field(default_factory=dict)


class Progress:
    """The state of one run.

    `stored` holds results of an earlier attempt that stand; see `app.workflow.resume`. `opening` is the
    first step forward: what may start at once.
    """

    def __init__(self, graph: Graph, stored: Mapping[NodeId, NodeResult] | None = None) -> None:
        self.graph = graph
        self._results: dict[NodeId, NodeResult] = {}
        self._scopes: dict[NodeId, Scope] = {}
        self._ready: set[NodeId] = set()
        self._running: set[NodeId] = set()
        self._parked: set[NodeId] = set()
        self._stop: Stop | None = None
        stored = {node_id: result for node_id, result in (stored or {}).items() if node_id in graph.nodes}
        self._waiting = {
            node_id: sum(other not in stored for other in awaited) for node_id, awaited in graph.waits.items()
        }
        self.opening = self._open(stored)

    @property
    def results(self) -> Mapping[NodeId, NodeResult]:
        """How every node ended that has."""
        return self._results

    @property
    def running(self) -> Set[NodeId]:
        """The nodes at work, as they are at any time: no copy."""
        return self._running

    @property
    def parked(self) -> Set[NodeId]:
        """The nodes that wait for a time, a person or other work, as they are at any time: no copy."""
        return self._parked

    @property
    def standing(self) -> Standing:
        """Where the run as a whole stands."""
        if len(self._results) == len(self.graph.nodes):
            return Standing.FINISHED
        return Standing.RUNNING if self._ready or self._running else Standing.PARKED

    @property
    def run_status(self) -> RunStatus:
        """How the run ended; only a finished run has. Failures that another node caught don't fail it."""
        if self.standing is not Standing.FINISHED:
            raise ValueError("the run has not ended yet")
        caught = self.find_caught()
        return run_status(
            (end.status for node, end in self._results.items() if node not in caught), self._stop
        )

    def find_caught(self) -> frozenset[NodeId]:
        """The nodes whose failures others have dealt with; looks at every result."""
        return frozenset(node_id for result in self._results.values() for node_id in result.caught)

    def status_of(self, node_id: NodeId) -> NodeStatus:
        """The status that the node's row should show now."""
        if node_id in self._results:
            return self._results[node_id].status
        if node_id in self._running:
            return NodeStatus.RUNNING
        return NodeStatus.QUEUED if node_id in self._ready else NodeStatus.AWAITING_DEPENDENCY

    def begin(self, node_id: NodeId) -> Start:
        """Mark a ready node as at work."""
        self._move(node_id, self._ready, self._running)
        awaited = self.graph.waits[node_id]
        return Start(
            node=self.graph.nodes[node_id],
            graph=self.graph,
            upstream={other: self._results[other] for other in awaited},
            scope=joined(self._scopes[other] for other in awaited),
            failures=self._failures_before(node_id),
        )

    def complete(self, node_id: NodeId, result: NodeResult) -> Advance:
        """End a node at work; returns what that lets happen. Late news of a stopped run changes nothing."""
        if self._stop is not None and node_id in self._results:
            return Advance()
        if not result.status.is_terminal:
            raise ValueError(f"{result.status} is not the end of a node")
        self._leave(node_id, self._running)
        self._record(node_id, result)
        return self._halt() if result.halts else self._go_on([node_id])

    def park(self, node_id: NodeId) -> None:
        """Put a node at work down until a time comes or a person answers."""
        self._move(node_id, self._running, self._parked)

    def wake(self, node_id: NodeId) -> None:
        """Make a parked node ready again."""
        self._move(node_id, self._parked, self._ready)

    def stop(self, stop: Stop) -> Advance:
        """End every node that hasn't ended; what is at work may go on, but its result no longer counts."""
        open_nodes = [node_id for node_id in self.graph.nodes if node_id not in self._results]
        if open_nodes:
            self._stop = stop
        return self._end_all(open_nodes, stopped(stop))

    def _failures_before(self, node_id: NodeId) -> dict[NodeId, NodeResult]:
        found: dict[NodeId, NodeResult] = {}
        seen: set[NodeId] = set()
        queue = deque(self.graph.parents[node_id])
        while queue:
            other = queue.popleft()
            result = self._results[other]
            if other in seen or result.is_completed:
                continue
            seen.add(other)
            if result.status is not NodeStatus.SKIPPED:
                found[other] = result
            if result.status is NodeStatus.SKIPPED or result.error == UPSTREAM_FAILURE.error:
                queue.extend(self.graph.parents[other])
        return found

    def _open(self, stored: Mapping[NodeId, NodeResult]) -> Advance:
        for node_id in sorted(stored, key=self.graph.order.__getitem__):
            self._record(node_id, stored[node_id])
        if any(result.halts for result in stored.values()):
            return self._halt()
        free = [n for n in self.graph.nodes if not self._waiting[n] and n not in self._results]
        ready, ends = self._admit(free)
        for node_id, end in ends.items():
            self._record(node_id, end)
        later = self._go_on(ends)
        return Advance((*ready, *later.ready), {**ends, **later.settled})

    def _go_on(self, ended: Iterable[NodeId]) -> Advance:
        """Follow the edges out of nodes that ended, and of all that end because of them."""
        all_ready: list[NodeId] = []
        settled: dict[NodeId, NodeResult] = {}
        queue = deque(ended)
        while queue:
            ready, ends = self._admit(self._released_by(queue.popleft()))
            all_ready += ready
            settled |= ends
            for node_id, end in ends.items():
                self._record(node_id, end)
            queue.extend(ends)
        return Advance(tuple(all_ready), settled)

    def _released_by(self, node_id: NodeId) -> Iterable[NodeId]:
        for dependent in self.graph.dependents[node_id]:
            self._waiting[dependent] -= 1
            if not self._waiting[dependent] and dependent not in self._results:
                yield dependent

    def _admit(self, released: Iterable[NodeId]) -> tuple[list[NodeId], dict[NodeId, NodeResult]]:
        ready: list[NodeId] = []
        ends: dict[NodeId, NodeResult] = {}
        for node_id in released:
            end = decide(self.graph, node_id, self._results)
            if end is None:
                ready.append(node_id)
            else:
                ends[node_id] = end
        self._ready.update(ready)
        return ready, ends

    def _halt(self) -> Advance:
        """Skip what hasn't started and what is parked; what is at work finishes and counts."""
        untouched = [n for n in self.graph.nodes if n not in self._results and n not in self._running]
        return self._end_all(untouched, skipped(SkipReason.WORKFLOW_HALTED))

    def _end_all(self, node_ids: Iterable[NodeId], end: NodeResult) -> Advance:
        settled = dict.fromkeys(node_ids, end)
        for node_id in settled:
            self._record(node_id, end)
            for group in (self._ready, self._running, self._parked):
                group.discard(node_id)
        return Advance((), settled)

    def _record(self, node_id: NodeId, result: NodeResult) -> None:
        self._results[node_id] = result
        seen = joined(self._scopes.get(other, EMPTY) for other in self.graph.waits[node_id])
        self._scopes[node_id] = extended(seen, result.variables, self.graph.order[node_id])

    def _move(self, node_id: NodeId, source: set[NodeId], target: set[NodeId]) -> None:
        self._leave(node_id, source)
        target.add(node_id)

    def _leave(self, node_id: NodeId, group: set[NodeId]) -> None:
        if node_id not in group:
            raise ValueError(f"node {node_id} is {self.status_of(node_id)}")
        group.remove(node_id)
