"""What is said against a node before its run starts."""

from __future__ import annotations

from typing import Any

import pytest

from app.nodes import field_kinds, node_types, problems_of, refusals
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
    assert complaints("merge", maxItems="[[n0.count]]", mode="shuffle") != []


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
