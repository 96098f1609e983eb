"""What a node works on: precedence of inputs, merging, references, paths, variables."""

from __future__ import annotations

import pytest

from app.errors import GiveUp
from app.workflow import (
    NodeFailure,
    NodeResult,
    NodeStatus,
    Output,
    Progress,
    clean_root_inputs,
    prepare,
    stored_output,
)
from app.workflow.merges import MergeStrategy
from app.workflow.resolver import value_at
from app.workflow.values import compact_json, json_length
from tests.unit.workflow.graphs import edge, graph_of, node


def work_of(target, nodes, edges, outputs, root):
    """Run every other node in order with the given outputs (None fails it), then prepare the target."""
    progress = Progress(graph_of(nodes, edges))
    ready = list(progress.opening.ready)
    while target not in ready:
        name = ready.pop(0)
        progress.begin(name)
        output = outputs.get(name, Output(text=f"from {name}"))
        failed = NodeResult(NodeStatus.FAILED)
        result = NodeResult(NodeStatus.COMPLETED, stored_output(output)) if output else failed
        ready += progress.complete(name, result).ready
    return prepare(progress.begin(target), root)


def labels(edges, *, config=None, outputs=None, root=None):
    nodes = [
        node("a"),
        node("b"),
        node("c"),
        node("t", onParentFailure="substitute_default", **(config or {})),
    ]
    return work_of("t", nodes, edges, outputs or {}, root or {}).labels


@pytest.mark.parametrize(
    ("edges", "config", "outputs", "root", "expected"),
    [
        ([], {}, {}, {"topic": "cats"}, {"topic": "cats"}),
        ([edge("a", "t", "x")], {}, {}, {"x": "root"}, {"x": "from a"}),
        ([edge("a", "t", "x")], {}, {"a": None}, {"x": "root"}, {"x": "root"}),
        ([edge("a", "t", "x")], {}, {"a": None}, {}, {"x": ""}),
        ([edge("a", "t", "x")], {"param_overrides": {"x": "mine"}}, {}, {"x": "root"}, {"x": "mine"}),
        ([edge("a", "t", "x")], {"param_overrides": {"__x": 7}}, {}, {}, {"x": "from a"}),
        ([edge("a", "t", "x"), edge("b", "t", "x")], {}, {}, {}, {"x": "from b"}),
        ([edge("a", "t", "x"), edge("b", "t", "x")], {}, {"b": None}, {}, {"x": "from a"}),
        ([edge("a", "t", "x"), edge("b", "t", "x")], {"merge": "array"}, {}, {}, {"x": ["from a", "from b"]}),
        (
            [edge("a", "t", "x", merge_strategy="concat"), edge("b", "t", "x")],
            {"merge": "array"},
            {},
            {},
            {"x": "from a\n\nfrom b"},
        ),
        ([edge("a", "t", "x", merge_strategy="array")], {}, {}, {}, {"x": ["from a"]}),
        (
            [edge("a", "t", "x", condition={"type": "equals", "value": "no"}), edge("b", "t", "y")],
            {},
            {},
            {"x": "root"},
            {"x": "root", "y": "from b"},
        ),
    ],
)
def test_precedence_of_inputs(edges, config, outputs, root, expected):
    assert labels(edges, config=config, outputs=outputs, root=root) == expected


@pytest.mark.parametrize(
    ("strategy", "values", "expected"),
    [
        ("last_write_wins", ["x", {"k": 1}], {"k": 1}),
        ("last_write_wins", ["x", None], ""),
        ("concat", ["x", None, {"k": [1.0, "ä"]}], 'x\n\n\n\n{"k":[1,"ä"]}'),
        ("array", ["x", None], ["x", None]),
        ("json_object", ["x", 2], {"n0": "x", "n1": 2}),
    ],
)
def test_merge_strategies(strategy, values, expected):
    assert MergeStrategy(strategy).merge([(f"n{i}", v) for i, v in enumerate(values)]) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("output", "whole"),
        ("", "whole"),
        (" branch ", "true"),
        ("misspelt", "whole"),
        ("items.0.n", 1),
        ("items[0].n", 1),
        ("items.9.n", "whole"),
        ("a.b", 2),
        ("nothing", None),
        ("inner", "whole"),
        ("inner.deep", "found in data"),
        ("a.b.c", "whole"),
        ("items.-1", "whole"),
        ("dotted.key", 3),
    ],
)
def test_keys_and_paths_into_an_output(key, expected):
    output = {"output": "whole", "branch": "true", "items": [{"n": 1}], "a": {"b": 2}, "nothing": None}
    output |= {"data": {"inner": {"deep": "found in data"}}, "dotted.key": 3}
    assert value_at(output, key) == expected


def test_references_are_filled_into_overrides_and_settings():
    data = Output(text="A", data={"list": [1, {"n": "x"}]})
    nodes = [
        node("a"),
        node("b"),
        node(
            "t",
            url="http://host/[[a.output]]?x=[[a.list.1.n]]",
            typed="[[a.list]]",
            nested=[{"deep": "[[a.list[1].n]][[b.output]]"}],
            code="keep [[connector]] [[:connector:x.y.z]]",
            param_overrides={"text": "<[[a.output]]|[[b.output]]|[[gone.output]]|[[a.list]]>"},
        ),
    ]
    outputs = {"a": data, "b": Output(text="[[a.output]]")}
    work = work_of("t", nodes, [edge("a", "t", "l")], outputs, {})
    assert work.labels["text"] == '<A|[[a.output]]||[1,{"n":"x"}]>', "values aren't read as references again"
    assert work.settings["url"] == "http://host/A?x=x"
    assert work.settings["typed"] == [1, {"n": "x"}]
    assert work.settings["nested"] == [{"deep": "x[[a.output]]"}]
    assert work.settings["code"] == "keep [[connector]] [[:connector:x.y.z]]"


def test_the_upstream_is_a_direct_parent_and_not_any_node():
    nodes = [node("trigger"), node("a"), node("b"), node("t", onParentFailure="substitute_default")]
    edges = [edge("trigger", "a"), edge("trigger", "b"), edge("a", "t", "x"), edge("b", "t", "y")]
    work = work_of("t", nodes, edges, {"a": None}, {})
    assert [name for name, _ in work.parents] == ["b"]
    assert work.parents[0][1]["output"] == "from b"
    assert work.bound == {"x", "y"}


def test_variables_reach_what_comes_after_their_setter_and_nothing_beside_it():
    nodes = [node(name) for name in ("set1", "set2", "beside", "t")]
    edges = [edge("set1", "set2"), edge("set2", "t"), edge("beside", "t", "y")]
    outputs = {
        "set1": Output(variables={"v": 1, "first": 1}),
        "set2": Output(variables={"v": 2}),
    }
    root = {"v": "root", "untouched": True}
    found = work_of("t", nodes, edges, outputs, root).labels
    assert (found["v"], found["first"], found["untouched"]) == (2, 1, True)
    assert work_of("beside", nodes, edges, outputs, root).labels == root
    assert root == {"v": "root", "untouched": True}, "the caller's object is left alone"


def test_of_two_setters_the_one_later_in_the_graph_wins_whatever_its_place_in_the_list():
    nodes = [node("deep"), node("flat"), node("root"), node("t")]
    edges = [edge("root", "deep"), edge("deep", "t", "x"), edge("flat", "t", "y")]
    outputs = {name: Output(variables={"v": name}) for name in ("deep", "flat", "root")}
    assert work_of("t", nodes, edges, outputs, {}).labels["v"] == "deep"


def test_reserved_names_are_dropped_from_a_runs_inputs():
    raw = {"topic": "x", "__workflow_halt": True, "__sub_workflow_depth": 0, "_fine": 1}
    assert clean_root_inputs(raw) == {"topic": "x", "_fine": 1}


def test_inputs_nested_too_deeply_are_refused():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(GiveUp, match="nested"):
        clean_root_inputs({"deep": deep})


def test_inputs_are_measured_as_browsers_count():
    just_fits = 524_288 - len('{"x":""}')
    assert labels([], root={"x": "a" * just_fits})
    assert labels([], root={"x": "😀" * (just_fits // 2)})
    for too_long in ("a" * (just_fits + 1), "😀" * (just_fits // 2 + 1)):
        with pytest.raises(NodeFailure, match="context_too_large") as raised:
            labels([], root={"x": too_long})
        assert raised.value.result == NodeResult(NodeStatus.FAILED, None, "context_too_large")


def test_json_is_written_as_browsers_write_it():
    value = {"a": 1.0, "b": [None, True, 1.5, float("nan")], "c": "ä😀\n", "d": 1e21}
    assert compact_json(value) == '{"a":1,"b":[null,true,1.5,null],"c":"ä😀\\n","d":1e+21}'
    assert json_length("😀") == 4


@pytest.mark.parametrize("lens", [None, "1e9a0000-0000-4000-8000-000000000000"], ids=["tool", "lens"])
def test_form_fields_of_a_tool_are_settings_and_no_labels(lens):
    fields = {"__webhookUrl": "https://hooks.example/secret", "tone": "dry"}
    config = {"param_overrides": fields, **({"nodeType": "lens"} if lens else {})}
    nodes = [node("t", lens, **config)]
    work = work_of("t", nodes, [], {}, {})
    assert work.settings["webhookUrl"] == "https://hooks.example/secret"
    assert ("webhookUrl" in work.labels, work.labels["tone"]) == (lens is not None, "dry")
