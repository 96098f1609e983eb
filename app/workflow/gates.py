"""Whether a node whose parents have all ended may start, and how it ends if it may not."""

from __future__ import annotations

from collections.abc import Mapping

from app.workflow.ends import UPSTREAM_FAILURE, skipped
from app.workflow.graph import Edge, Graph, NodeId
from app.workflow.results import NodeResult
from app.workflow.statuses import ParentFailurePolicy, SkipReason


def decide(graph: Graph, node_id: NodeId, results: Mapping[NodeId, NodeResult]) -> NodeResult | None:
    """None if the node may start, else what it ends in.

    First its parents: one that ended in anything but `completed`, `skipped` included, ends this node too,
    unless it substitutes defaults. Then its branch: where edges into it have conditions, at least one edge
    must count, and an edge without a condition always does.
    """
    policy = graph.nodes[node_id].config.on_parent_failure
    if policy is not ParentFailurePolicy.SUBSTITUTE_DEFAULT and not all(
        results[parent].is_completed for parent in graph.parents[node_id]
    ):
        if policy is ParentFailurePolicy.PROPAGATE:
            return UPSTREAM_FAILURE
        return skipped(SkipReason.PARENT_NOT_SUCCESSFUL)
    edges = graph.edges_into.get(node_id, ())
    if edges and not any(edge.condition is None or delivers(edge, results[edge.source]) for edge in edges):
        return skipped(SkipReason.BRANCH_NOT_TAKEN)
    return None


def delivers(edge: Edge, source: NodeResult) -> bool:
    """Whether a value comes over an edge: its source is completed and its condition, if any, is true."""
    if not source.is_completed:
        return False
    return edge.condition is None or edge.condition.holds(source.output, edge.output_key)
