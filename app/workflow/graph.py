"""A workflow's graph, indexed so that following one node's edges costs only those edges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from app.workflow.conditions import Condition
from app.workflow.config import NodeConfig
from app.workflow.levels import levels_of
from app.workflow.merges import MergeStrategy
from app.workflow.problems import Problem
from app.workflow.references import mentioned_nodes

#: A node's uuid as text; within this package any word of letters, digits, `_` and `-`.
NodeId: TypeAlias = str


def title_of(node_id: NodeId, label: str | None) -> str:
    """What to call a node when speaking to people: by its label, else by its id."""
    return f"'{label}'" if label else f"node {node_id}"


@dataclass(frozen=True)
class Node:
    """One step; `type` is `lens` for every node that asks a model with its lens."""

    id: NodeId
    type: str
    config: NodeConfig
    lens_id: str | None = None
    version_id: str | None = None
    label: str | None = None
    ordinal: int = 0

    @property
    def title(self) -> str:
        """What to call the node when speaking to people."""
        return title_of(self.id, self.label)


@dataclass(frozen=True)
class Edge:
    """What one node hands to a label of another, and on which condition."""

    id: str
    source: NodeId
    target: NodeId
    output_key: str
    target_label: str
    merge: MergeStrategy | None = None
    condition: Condition | None = None


@dataclass(frozen=True)
class Graph:
    """Nodes in order, and who hands to whom.

    `waits` holds what must have ended before a node can start: its direct parents, and nodes that its
    config mentions, as long as they come earlier in the graph. `dependents` is the same read backwards.
    `order` sorts any node behind everything it waits for. `notes` are what its author should know of it.
    """

    nodes: Mapping[NodeId, Node]
    edges_into: Mapping[NodeId, Sequence[Edge]]
    parents: Mapping[NodeId, Sequence[NodeId]]
    waits: Mapping[NodeId, Sequence[NodeId]]
    dependents: Mapping[NodeId, Sequence[NodeId]]
    order: Mapping[NodeId, int]
    notes: Sequence[Problem] = ()

    @classmethod
    def of(cls, nodes: Iterable[Node], edges: Iterable[Edge]) -> Graph:
        """Index a valid graph: unique ids, no dangling edges, no cycles."""
        by_id = {node.id: node for node in sorted(nodes, key=lambda node: node.ordinal)}
        place = {node_id: index for index, node_id in enumerate(by_id)}
        edges_into: dict[NodeId, list[Edge]] = defaultdict(list)
        # The database gives edges in no order, yet merging depends on one: by their sources, then by id.
        for edge in sorted(edges, key=lambda edge: (place[edge.source], edge.id)):
            edges_into[edge.target].append(edge)
        parents = {node_id: tuple(dict.fromkeys(e.source for e in edges_into[node_id])) for node_id in by_id}
        levels = levels_of(parents)
        waits = {node_id: _waits(node, parents[node_id], levels) for node_id, node in by_id.items()}
        dependents: dict[NodeId, list[NodeId]] = {node_id: [] for node_id in by_id}
        for node_id, awaited in waits.items():
            for other in awaited:
                dependents[other].append(node_id)
        sequence = sorted(by_id, key=lambda node_id: (levels[node_id], place[node_id]))
        order = {node_id: index for index, node_id in enumerate(sequence)}
        return cls(by_id, dict(edges_into), parents, waits, dependents, order)


def _waits(node: Node, parents: Sequence[NodeId], levels: Mapping[NodeId, int]) -> tuple[NodeId, ...]:
    """Parents, and mentioned nodes of a lower level, which is why waiting for them can't be circular."""
    earlier = [
        other for other in mentioned_nodes(node.config) if other in levels and levels[other] < levels[node.id]
    ]
    return tuple(dict.fromkeys([*parents, *earlier]))
