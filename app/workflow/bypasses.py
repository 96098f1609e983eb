"""Find nodes that join a branch with a way around it: they are skipped whenever the branch isn't taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from app.workflow.graph import Edge, Graph, NodeId
from app.workflow.problems import Problem
from app.workflow.statuses import ParentFailurePolicy

#: Most edges that are followed in one graph: this only warns, and must not hold up a large one.
MOST_STEPS = 200_000

#: The nearest nodes before a node that a branch decides on, which is skipped with them.
Gates = frozenset[NodeId]


def bypasses(graph: Graph) -> Iterator[Problem]:
    """A warning for each node that is skipped with a branch although another way leads to it from the fork.

    Such a node needs `onParentFailure: substitute_default` to run with what the other way gives it.
    """
    gates = _gates(graph)
    search = _Search(graph)
    for node_id in sorted(graph.nodes, key=graph.order.__getitem__):
        found = (
            _first_bypass(graph, search, node_id, gates) if _is_skipped_with_parents(graph, node_id) else None
        )
        if found:
            fork, gate = (graph.nodes[name].title for name in found)
            yield Problem(
                "skipped_with_branch",
                f"{graph.nodes[node_id].title} joins a branch of {fork} and a way around it: it is skipped"
                f" whenever {gate} is, unless its onParentFailure is substitute_default",
                (node_id,),
            )


def _first_bypass(
    graph: Graph, search: _Search, node_id: NodeId, gates: Mapping[NodeId, Gates]
) -> tuple[NodeId, NodeId] | None:
    """The fork and the node behind it with which another is skipped, though the fork reaches that one too."""
    parents = graph.parents[node_id]
    if len(parents) < 2 or search.is_spent:
        return None
    for gate in sorted(_together(gates[parent] for parent in parents), key=graph.order.__getitem__):
        for fork in dict.fromkeys(edge.source for edge in graph.edges_into[gate]):
            if search.leads_around(fork, gate, node_id):
                return fork, gate
    return None


def _gates(graph: Graph) -> dict[NodeId, Gates]:
    found: dict[NodeId, Gates] = {}
    for node_id in sorted(graph.nodes, key=graph.order.__getitem__):
        edges = graph.edges_into.get(node_id, ())
        inherited = graph.parents[node_id] if _is_skipped_with_parents(graph, node_id) else ()
        if edges and all(edge.condition is not None for edge in edges):
            found[node_id] = frozenset({node_id})
        else:
            found[node_id] = _together(found[parent] for parent in inherited)
    return found


def _together(several: Iterable[Gates]) -> Gates:
    """All of them; nodes with the same gates share one set, so that large graphs stay small."""
    distinct = set(several)
    return distinct.pop() if len(distinct) == 1 else frozenset().union(*distinct)


def _is_skipped_with_parents(graph: Graph, node_id: NodeId) -> bool:
    return graph.nodes[node_id].config.on_parent_failure is ParentFailurePolicy.SKIP


class _Search:
    """Looks for ways through a graph, until it has followed `MOST_STEPS` edges."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._steps = 0

    @property
    def is_spent(self) -> bool:
        """Whether nothing more is looked for."""
        return self._steps >= MOST_STEPS

    def leads_around(self, fork: NodeId, gate: NodeId, target: NodeId) -> bool:
        """Whether a way from the fork to the target avoids the gate, and begins on another condition."""
        taken = [_condition(edge) for edge in self._graph.edges_into[gate] if edge.source == fork]
        seen, ahead = {target, gate}, [target]
        while ahead and not self.is_spent:
            for edge in self._graph.edges_into.get(ahead.pop(), ()):
                self._steps += 1
                if edge.source == fork and _condition(edge) not in taken:
                    return True
                # What comes no later than the fork can't lie behind it.
                if edge.source not in seen and self._graph.order[edge.source] > self._graph.order[fork]:
                    seen.add(edge.source)
                    ahead.append(edge.source)
        return False


def _condition(edge: Edge) -> object:
    return edge.condition and (edge.output_key, edge.condition.model_dump())
