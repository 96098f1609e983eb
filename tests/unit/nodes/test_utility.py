"""Small helpers of authors."""

from __future__ import annotations

import pytest

from app.workflow import Output
from tests.unit.nodes.trying import try_node


@pytest.mark.parametrize("node_type", ["noop", "pass_through", "logger"])
def test_what_came_in_is_passed_on(node_type: str) -> None:
    assert try_node(node_type, "words").text == "words"
    passed = try_node(node_type, {"a": 1, "items": [2]})
    assert {"a": 1, "items": [2]}.items() <= passed.data.items()
    assert try_node("filter_items", passed, condition="item > 1").data["items"] == [2]
    assert try_node(node_type, inputs={"topic": "cats"}).data["topic"] == "cats"


def test_a_note_is_in_the_output_that_the_runs_log_keeps() -> None:
    output = try_node("logger", "words", message="got [[p0.output]]", level="warn")
    assert output.data == {"message": "got words", "level": "warn"}


def test_an_inspection_shows_everything_that_came_in_and_cuts_what_is_long() -> None:
    output = try_node("debug_inspector", Output(text="x" * 5000), inputs={"list": list(range(99))})
    assert output.data["labels"]["list"][-1] == "… (99 items)"
    assert output.data["parents"]["p0"]["output"].endswith("… (5000 characters)")
