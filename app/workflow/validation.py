"""Check before the start that a graph can be run to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from app.workflow.bypasses import bypasses
from app.workflow.coercion import FieldKinds
from app.workflow.graph import Graph, Node
from app.workflow.levels import nodes_on_cycles
from app.workflow.problems import InvalidWorkflow, Problem
from app.workflow.rows import LENS, Draft, read_draft
from app.workflow.statuses import ParentFailurePolicy

#: What the type of a node has to say against it.
NodeCheck: TypeAlias = Callable[[Node], Iterable[Problem]]


@dataclass(frozen=True)
class GraphLimits:
    """How large a graph may be."""

    nodes: int = 10_000
    edges: int = 50_000


def load_graph(
    node_rows: Iterable[Mapping[str, Any]],
    edge_rows: Iterable[Mapping[str, Any]],
    *,
    known_types: Collection[str],
    kinds: FieldKinds | None = None,
    catching_types: Collection[str] = (),
    check: NodeCheck | None = None,
    limits: GraphLimits | None = None,
) -> Graph:
    """Read, check and index a graph; raises `InvalidWorkflow` with everything that is wrong with it.

    `check` finds what the types of nodes themselves have to say about one. A node of a catching type that
    would be skipped after a failure runs instead.
    """
    draft = read_draft(node_rows, edge_rows, kinds)
    problems = find_problems(draft, known_types=known_types, check=check, limits=limits)
    if problems:
        raise InvalidWorkflow(problems)
    nodes = [_run_after_failures(node) if node.type in catching_types else node for node in draft.nodes]
    graph = Graph.of(nodes, draft.edges)
    return replace(graph, notes=tuple(bypasses(graph)))


def _run_after_failures(node: Node) -> Node:
    if node.config.on_parent_failure is not ParentFailurePolicy.SKIP:
        return node
    config = node.config.model_copy(update={"on_parent_failure": ParentFailurePolicy.SUBSTITUTE_DEFAULT})
    return replace(node, config=config)


def find_problems(
    draft: Draft,
    *,
    known_types: Collection[str],
    check: NodeCheck | None = None,
    limits: GraphLimits | None = None,
) -> list[Problem]:
    """Everything that keeps a graph from being run; an empty graph has nothing wrong with it."""
    return [
        *draft.problems,
        *_sizes(draft, limits or GraphLimits()),
        *_duplicates(draft),
        *_types(draft.nodes, known_types),
        *(problem for node in draft.nodes if check for problem in check(node)),
        *_edges(draft),
        *_cycles(draft),
    ]


def _sizes(draft: Draft, limits: GraphLimits) -> Iterator[Problem]:
    for what, count, most in (
        ("nodes", len(draft.nodes), limits.nodes),
        ("edges", len(draft.edges), limits.edges),
    ):
        if count > most:
            yield Problem(f"too_many_{what}", f"the graph has {count} {what}, at most {most} are allowed")


def _duplicates(draft: Draft) -> Iterator[Problem]:
    titles = _titles(draft)
    for node_id, count in Counter(node.id for node in draft.nodes).items():
        if count > 1:
            message = f"{titles[node_id]} has the id {node_id} in common with {count - 1} more"
            yield Problem("duplicate_node_id", message, (node_id,))


def _types(nodes: Iterable[Node], known_types: Collection[str]) -> Iterator[Problem]:
    for node in nodes:
        if node.type == LENS:
            if node.lens_id is None:
                yield Problem("missing_lens", f"{node.title} has no lens", (node.id,))
        elif not node.type:
            message = f"{node.title} has neither a type nor a lens"
            yield Problem("unknown_node_type", message, (node.id,))
        elif node.type not in known_types:
            message = f"{node.title} has the unknown type '{node.type[:60]}'"
            yield Problem("unknown_node_type", message, (node.id,))


def _edges(draft: Draft) -> Iterator[Problem]:
    titles = _titles(draft)
    for edge in draft.edges:
        source, target = titles.get(edge.source), titles.get(edge.target)
        if source is None:
            into = f" into {target}" if target else ""
            message = f"edge {edge.id}{into} comes from a node that doesn't exist"
            yield Problem("orphan_source", message, (edge.target,) if target else ())
        if target is None:
            out_of = f" out of {source}" if source else ""
            message = f"edge {edge.id}{out_of} leads to a node that doesn't exist"
            yield Problem("orphan_target", message, (edge.source,) if source else ())
        if edge.source == edge.target:
            message = f"edge {edge.id} leads from {source} back to itself"
            yield Problem("self_edge", message, (edge.source,))


def _titles(draft: Draft) -> dict[str, str]:
    return {**draft.unreadable, **{node.id: node.title for node in draft.nodes}}


def _cycles(draft: Draft) -> Iterator[Problem]:
    titles = _titles(draft)
    parents: dict[str, list[str]] = {node.id: [] for node in draft.nodes}
    for edge in draft.edges:
        if edge.source in parents and edge.target in parents and edge.source != edge.target:
            parents[edge.target].append(edge.source)
    cyclic = nodes_on_cycles(parents)
    if cyclic:
        named = ", ".join(titles[node_id] for node_id in cyclic[:10])
        more = f" and {len(cyclic) - 10} more" if len(cyclic) > 10 else ""
        yield Problem("cycle_detected", f"nodes wait for each other in a cycle: {named}{more}", tuple(cyclic))
