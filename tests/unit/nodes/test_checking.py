"""What is said against a node before its run starts."""

from __future__ import annotations

from typing import Any

import pytest

from app.nodes import field_kinds, node_types, notes_of, problems_of, refusals
from app.workflow import FieldKind, InvalidWorkflow, Node, load_graph
from app.workflow.config import NodeConfig


def complaints(node_type: str, **settings: Any) -> list[str]:
    node = Node("n1", node_type, NodeConfig(settings=settings), label="Greet")
    return [problem.message for problem in problems_of(node)]


@pytest.mark.parametrize("name", sorted(node_types()))
def test_every_type_says_what_it_does_and_reads(name: str) -> None:
    kind = node_types()[name]
    assert kind.summary.endswith(".")
    assert kind.config.__doc__
    kind.config.model_rebuild()
    assert kind.config.__pydantic_complete__


@pytest.mark.parametrize("name", sorted(refusals()))
def test_a_refused_type_is_refused_with_its_reason(name: str) -> None:
    (complaint,) = complaints(name)
    assert refusals()[name] in complaint


def test_settings_that_can_not_be_read_are_named_without_their_values() -> None:
    (complaint,) = complaints("merge", maxItems="sk-secret")
    assert "'Greet' (merge): maxItems" in complaint
    assert "sk-secret" not in complaint


def test_what_a_reference_will_fill_is_not_judged_before_it_is_filled() -> None:
    assert complaints("merge", maxItems="[[n0.count]]") == []
    assert complaints("summarizer", maxWords="[[n0.count]]", text=[]) != []


def notes(node_type: str, **settings: Any) -> list[str]:
    node = Node("n1", node_type, NodeConfig(settings=settings), label="Greet")
    found = list(notes_of(node))
    assert all((note.code, note.node_ids) == ("ignored_setting", ("n1",)) for note in found)
    return [note.message for note in found]


CHILD = "3f0c0f0e-6a56-4b0e-9a0e-2f1d5f0a7a11"


@pytest.mark.parametrize(
    ("node_type", "settings", "note"),
    [
        ("merge", {"mode": "sk-secret"}, "mode has an unknown value; 'append' is used"),
        ("merge", {"maxItems": 5000}, "maxItems is beyond its limit; 1000 is used"),
        ("merge", {"waitForAll": True, "timeout": 5}, "passed over: timeout, waitForAll"),
        ("filter_items", {"maxItems": 1001}, "maxItems is beyond its limit; 1000 is used"),
        ("filter_items", {"limit": 0}, "limit is beyond its limit; 1 is used"),
        ("sort", {"direction": "sideways"}, "direction has an unknown value; 'asc' is used"),
        (
            "sort",
            {"sortBy": [{"field": "a", "direction": "up"}]},
            "direction has an unknown value; 'asc' is used",
        ),
        ("deduplicate", {"keep": "middle"}, "keep has an unknown value; 'first' is used"),
        ("summarizer", {"style": "haiku"}, "style has an unknown value; 'paragraph' is used"),
        ("judge_evaluator", {"maxScore": 1000}, "maxScore is beyond its limit; 100 is used"),
        ("judge_evaluator", {"mode": "duel"}, "comparisonMode has an unknown value; 'pairwise' is used"),
        ("rag_retrieval", {"topK": 50}, "topK is beyond its limit; 20 is used"),
        ("chain", {"maxTurns": 0}, "maxTurns is beyond its limit; 1 is used"),
        (
            "rss_feed",
            {"feedUrl": "[[n0.url]]", "limit": 80},
            "maxItems is beyond its limit; 50 is used",
        ),
        ("sub_workflow", {"workflowId": CHILD, "maxDepth": 4}, "maxDepth is beyond its limit; 3 is used"),
        ("loop_map", {"maxDepth": 9}, "maxDepth is beyond its limit; 3 is used"),
        ("kv_store_write", {"key": "a", "ttlMs": 1}, "ttlMs is beyond its limit; 1000 is used"),
    ],
)
def test_what_the_platform_passes_over_is_noted_and_refuses_nothing(
    node_type: str, settings: dict[str, Any], note: str
) -> None:
    assert complaints(node_type, **settings) == []
    assert notes(node_type, **settings) == [f"'Greet' ({node_type}): {note}"]


def test_nothing_is_noted_of_settings_that_are_known_or_open() -> None:
    assert notes("merge", mode="combine", max_items=10) == []
    assert notes("merge", mode="[[n0.mode]]") == []
    assert notes("launch_rocket", mode="shuffle") == []


def test_a_rule_over_all_settings_waits_for_those_that_are_still_open() -> None:
    assert complaints("merge", mode="key_join") != []
    assert complaints("merge", mode="key_join", joinKey="[[n0.key]]") == []


def test_form_fields_are_typed_by_the_model_of_their_settings() -> None:
    kinds = field_kinds()
    assert kinds["merge"]["maxItems"] is FieldKind.NUMBER
    assert kinds["merge"]["max_items"] is FieldKind.NUMBER
    assert kinds["merge"]["mergeKey"] is FieldKind.TEXT
    assert kinds["form_input_trigger"]["fields"] is FieldKind.JSON
    assert "value" not in kinds["if_condition"]


@pytest.mark.parametrize("spelling", ["lens", "lens_execute", "text"])
def test_a_lens_node_without_a_lens_is_refused_under_each_of_its_names(spelling: str) -> None:
    row = {"id": "n1", "label": "Greet", "config": {"nodeType": spelling}}
    with pytest.raises(InvalidWorkflow, match="'Greet' has no lens"):
        load_graph([row], [], known_types=node_types())
