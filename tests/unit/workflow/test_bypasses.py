"""Nodes that join a branch with a way around it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from app.workflow import Graph
from app.workflow.bypasses import bypasses
from tests.unit.workflow.graphs import edge, first, graph_of, graphs, node, run

IF = {"type": "equals", "value": "true"}
ELSE = {"type": "equals", "value": "false"}


def graph(*pairs: tuple[str, str, Any], **policies: str) -> Graph:
    names = dict.fromkeys(name for pair in pairs for name in pair[:2])
    nodes = [{**node(name, onParentFailure=policies.get(name)), "label": name.upper()} for name in names]
    edges = [edge(source, target, condition=condition) for source, target, condition in pairs]
    return graph_of(nodes, edges)


def warned(graph: Graph) -> list[str]:
    return [note.node_ids[0] for note in bypasses(graph)]


def test_a_node_behind_a_branch_and_its_bypass_is_named_once() -> None:
    found = graph(("a", "z", IF), ("a", "y", ELSE), ("y", "z", None), ("y", "z", IF)).notes
    assert [(note.code, note.node_ids, note.message) for note in found] == [
        (
            "skipped_with_branch",
            ("z",),
            "'Z' joins a branch of 'A' and a way around it: it is skipped whenever 'Y' is,"
            " unless its onParentFailure is substitute_default",
        )
    ]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("a", "z", IF), ("a", "y", ELSE), ("y", "z", None)], ["z"]),
        ([("a", "z", None), ("a", "y", IF), ("y", "z", None)], ["z"]),
        ([("a", "b", IF), ("a", "c", ELSE), ("b", "z", None), ("c", "z", None)], ["z"]),
        ([("a", "b", IF), ("b", "c", None), ("c", "z", None), ("a", "d", None), ("d", "z", None)], ["z"]),
        ([("a", "b", IF), ("a", "z", None), ("b", "z", None), ("z", "end", None)], ["z"]),
        # Both ways begin on the same condition: one is never taken without the other.
        ([("a", "b", IF), ("a", "c", IF), ("b", "z", None), ("c", "z", None)], []),
        ([("a", "z", IF), ("a", "y", IF), ("y", "z", None)], []),
        # What comes from before the fork leads around nothing.
        ([("t", "a", None), ("a", "y", IF), ("y", "z", None), ("t", "z", None)], []),
        ([("a", "y", None), ("a", "z", IF), ("y", "z", None)], []),
        ([("a", "y", IF), ("y", "z", None)], []),
        ([("a", "b", None), ("a", "c", None), ("b", "z", None), ("c", "z", None)], []),
    ],
)
def test_which_joins_are_named(pairs: list[tuple[str, str, Any]], expected: list[str]) -> None:
    assert warned(graph(*pairs)) == expected


@pytest.mark.parametrize("policy", ["substitute_default", "propagate"])
def test_a_join_that_says_what_a_skipped_parent_means_is_not_named(policy: str) -> None:
    pairs = [("a", "z", IF), ("a", "y", ELSE), ("y", "z", None)]
    assert warned(graph(*pairs, z=policy)) == []


def test_a_node_between_that_runs_in_spite_of_the_branch_ends_it() -> None:
    pairs = [("a", "z", None), ("a", "y", IF), ("y", "w", None), ("w", "z", None)]
    assert warned(graph(*pairs)) == ["z"]
    assert warned(graph(*pairs, w="substitute_default")) == []


def test_a_large_graph_is_looked_through_in_no_time() -> None:
    layers, width = 40, 25
    pairs = [
        (f"n{layer}_{a}", f"n{layer + 1}_{b}", IF if (a + b) % 2 else None)
        for layer in range(layers)
        for a in range(width)
        for b in range(width)
    ]
    assert isinstance(warned(graph(*pairs)), list)


@given(graphs())
def test_a_named_node_exists_and_is_one_that_skips(graph: Graph) -> None:
    assert all(graph.nodes[name].config.on_parent_failure == "skip" for name in warned(graph))
    run(graph, first)
