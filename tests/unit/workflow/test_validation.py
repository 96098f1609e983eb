"""What keeps a graph from being run, and how its rows are read."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import GiveUp
from app.workflow import GraphLimits, InvalidWorkflow, load_graph
from app.workflow.coercion import FieldKind
from app.workflow.levels import levels_of, nodes_on_cycles
from app.workflow.rows import read_draft
from app.workflow.validation import find_problems
from tests.unit.workflow.graphs import edge, graph_of, node

LENS = "11111111-1111-4111-8111-111111111111"


def codes(nodes, edges, limits=None):
    draft = read_draft(nodes, edges)
    return [problem.code for problem in find_problems(draft, known_types={"echo"}, limits=limits)]


@pytest.mark.parametrize(
    ("nodes", "edges", "expected"),
    [
        ([], [], []),
        ([node("a"), node("b")], [edge("a", "b"), edge("a", "b", "other")], []),
        ([node("a"), node("a")], [], ["duplicate_node_id"]),
        ([node("a")], [edge("x", "a")], ["orphan_source"]),
        ([node("a")], [edge("a", "x")], ["orphan_target"]),
        ([node("a")], [edge("a", "a")], ["self_edge"]),
        ([node("a"), node("b")], [edge("a", "b"), edge("b", "a")], ["cycle_detected"]),
        ([{"id": "a", "config": {}}], [], ["unknown_node_type"]),
        ([{"id": "a", "config": {"node_type": "teleport"}}], [], ["unknown_node_type"]),
        ([{"id": "a", "config": {"node_type": "lens"}}], [], ["missing_lens"]),
        ([{"id": "a", "config": {"node_type": "image"}}], [], ["missing_lens"]),
        ([{"id": "a", "config": {"node_type": "image"}, "lens_id": LENS}], [], []),
        ([{"id": "a", "config": None, "lens_id": LENS}], [], []),
        ([{"config": {}}], [], ["malformed_node"]),
        ([node("a", timeoutMs="soon")], [], ["malformed_node"]),
        ([node("a", onParentFailure="panic")], [edge("a", "a2")], ["malformed_node", "orphan_target"]),
        ([node("a"), node("b")], [edge("a", "b", condition={"type": "maybe"})], ["malformed_edge"]),
        ([node("a"), node("b")], [edge("a", "b", condition={"value": 1})], ["malformed_edge"]),
        ([node("a"), node("b")], [edge("a", "b", condition="a ==")], ["malformed_edge"]),
        ([node("a"), node("b")], [edge("a", "b", merge_strategy="shuffle")], ["malformed_edge"]),
        ([node("a b")], [], ["malformed_node"]),
    ],
)
def test_problems_of_a_graph(nodes, edges, expected):
    assert codes(nodes, edges) == expected


def test_all_problems_are_told_at_once_and_by_name():
    nodes = [
        {"id": "a", "label": "Draft", "config": {"node_type": "teleport"}},
        node("b"),
        node("c"),
        node("c"),
    ]
    edges = [edge("b", "c"), edge("c", "b"), edge("gone", "a")]
    with pytest.raises(InvalidWorkflow) as raised:
        load_graph(nodes, edges, known_types={"echo"})
    assert {p.code for p in raised.value.problems} == {
        "unknown_node_type",
        "duplicate_node_id",
        "orphan_source",
        "cycle_detected",
    }
    assert isinstance(raised.value, GiveUp)
    assert raised.value.code == "workflow.invalid"
    assert "'Draft' has the unknown type 'teleport'" in raised.value.message
    assert "in a cycle: node b, node c" in raised.value.message


def test_a_long_list_of_problems_is_cut_in_the_message_only():
    with pytest.raises(InvalidWorkflow, match="and 30 more") as raised:
        graph_of([], [edge(f"x{i}", f"y{i}") for i in range(25)])
    assert len(raised.value.problems) == 50


def test_limits_on_size():
    nodes = [node(f"n{i}") for i in range(4)]
    edges = [edge("n0", "n1", f"l{i}") for i in range(5)]
    assert codes(nodes, edges, GraphLimits(nodes=3, edges=4)) == ["too_many_nodes", "too_many_edges"]
    assert codes(nodes, edges, GraphLimits(nodes=4, edges=5)) == []
    assert codes([node("a", text="x" * 300_000)], []) == ["malformed_node"]
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert codes([node("a", deep=deep)], []) == ["malformed_node"]


def test_configured_values_never_reach_a_message():
    nodes = [node("a", timeoutMs="sk-secret"), node("b"), {"id": "c", "config": "sk-secret"}]
    edges = [edge("a", "b", condition={"type": "sk-secret"}), edge("a", "b", condition="sk-secret ==")]
    with pytest.raises(InvalidWorkflow) as raised:
        graph_of(nodes, edges)
    assert "sk-secret" not in str(raised.value)
    assert "node a can't be read (timeoutMs" in raised.value.message


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_levels_and_cycles_share_out_all_nodes(pairs):
    parents = {f"n{i}": [] for i in range(10)}
    for source, target in pairs:
        parents[f"n{target}"].append(f"n{source}")
    levels, cyclic = levels_of(parents), set(nodes_on_cycles(parents))
    assert bool(cyclic) == (len(levels) < 10)
    assert not cyclic & levels.keys()
    for name, level in levels.items():
        assert level == max((levels[p] + 1 for p in parents[name]), default=0)
    for name in cyclic:
        assert cyclic & set(parents[name]), "some parent is on a cycle too"


def test_only_nodes_on_a_cycle_are_named():
    nodes = [node(name) for name in "abcde"]
    edges = [edge("a", "b"), edge("b", "c"), edge("c", "b"), edge("c", "d"), edge("d", "e")]
    (problem,) = find_problems(read_draft(nodes, edges), known_types={"echo"})
    assert problem.node_ids == ("b", "c")


def config(raw, kinds=None):
    (read,) = read_draft([{"id": "a", "config": raw}], [], kinds).nodes
    return read


@pytest.mark.parametrize(
    "raw",
    [
        {"nodeType": "echo", "modelId": " m ", "timeoutMs": 5000, "onParentFailure": "propagate"},
        {"node_type": "echo", "model_id": "m", "timeout_ms": 5000, "on_parent_failure": "propagate"},
        {
            "node_type": "echo",
            "nodeType": "echo",
            "modelId": "m",
            "model_id": "other",
            "param_overrides": {"__timeoutMs": "5000", "__onParentFailure": "propagate"},
        },
    ],
)
def test_every_spelling_of_the_engines_keys_is_read(raw):
    read = config(raw)
    assert read.type == "echo"
    assert read.config.model_id == "m"
    assert read.config.timeout_ms == 5000
    assert read.config.on_parent_failure == "propagate"
    assert read.config.settings == {}


def test_defaults_of_a_node():
    read = config({"node_type": "echo"}).config
    assert (read.timeout_ms, read.on_parent_failure, read.merge) == (60_000, "skip", "last_write_wins")
    assert (read.retry.attempts, read.retry.backoff_ms, read.retry.max_backoff_ms) == (1, 500, 8000)
    assert read.retry.retry_on == {"timeout", "provider_error", "rate_limit"}


@pytest.mark.parametrize(
    "retry",
    [
        {"attempts": 3, "backoffMs": 10, "maxBackoffMs": 20, "retryOn": ["timeout"]},
        {"attempts": "3", "backoff_ms": 10, "max_backoff_ms": "20", "retry_on": ["timeout"]},
        '{"attempts": 3, "backoffMs": 10, "maxBackoffMs": 20, "retryOn": ["timeout"]}',
    ],
)
def test_retry_policies_in_every_spelling(retry):
    read = config({"node_type": "echo", "retry": retry}).config.retry
    assert (read.attempts, read.backoff_ms, read.max_backoff_ms) == (3, 10, 20)
    assert read.retry_on == {"timeout"}


def test_attempts_are_at_least_one():
    assert config({"node_type": "echo", "retry": {"attempts": -2}}).config.retry.attempts == 1


def test_form_fields_become_settings_and_the_top_level_wins():
    read = config(
        {
            "node_type": "echo",
            "count": 1,
            "param_overrides": {
                "__count": "2",
                "__on": "true",
                "tone": "dry",
                "__list": "[1, 2]",
                "merge": "m",
            },
        }
    ).config
    assert read.settings == {"count": 1, "on": True, "tone": "dry", "list": [1, 2]}
    assert read.merge == "last_write_wins", "a label of the same name is not the engine's key"
    assert read.param_overrides["merge"] == "m"


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (None, "true", True),
        (None, "True", "True"),
        (None, "12", 12),
        (None, "-1.5", -1.5),
        (None, "007", "007"),
        (None, "1234567890123456789", "1234567890123456789"),
        (None, "1e5", "1e5"),
        (None, '{"a": 1}', {"a": 1}),
        (None, "{not json}", "{not json}"),
        (None, "[[n.output]]", "[[n.output]]"),
        (None, "{{ n.output }}", "{{ n.output }}"),
        (FieldKind.TEXT, 12, "12"),
        (FieldKind.TEXT, "12", "12"),
        (FieldKind.NUMBER, "1e3", 1000),
        (FieldKind.NUMBER, "many", "many"),
        (FieldKind.BOOLEAN, " TRUE ", True),
        (FieldKind.BOOLEAN, "yes", False),
        (FieldKind.BOOLEAN, True, True),
        (FieldKind.JSON, "[1]", [1]),
        (FieldKind.TEXTS, '["a"]', ["a"]),
        (FieldKind.TEXTS, "a, b", "a, b"),
    ],
)
def test_values_get_the_type_of_their_field(kind, given, expected):
    kinds = {"echo": {"field": kind}} if kind else None
    value = config({"node_type": "echo", "param_overrides": {"__field": given}}, kinds).config.settings[
        "field"
    ]
    assert value == expected
    assert type(value) is type(expected)


def test_uuids_of_the_driver_and_text_are_the_same_id():
    graph = graph_of([{**node("x"), "id": UUID(LENS)}, node("b")], [edge(LENS.upper(), "b")])
    assert graph.parents["b"] == (LENS,)


def test_edges_have_a_stable_order_whatever_the_database_gives():
    nodes = [{**node(name), "ordinal": place} for name, place in (("b", 0), ("a", 1), ("z", 2))]
    edges = [edge("a", "z", "l1"), edge("b", "z", "l2"), edge("b", "z", "l1")]
    orders = {
        tuple(e.id for e in graph_of(nodes, ordered).edges_into["z"]) for ordered in (edges, edges[::-1])
    }
    assert orders == {("b-z-l1", "b-z-l2", "a-z-l1")}
