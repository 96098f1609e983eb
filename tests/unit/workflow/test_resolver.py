"""What the paths mean that people write into nodes, edges and templates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.workflow import Output, stored_output
from app.workflow.conditions import Condition
from app.workflow.paths import Missing
from app.workflow.resolver import Source, value_at
from tests.unit.nodes.trying import json_values

#: What a lens node stores of a model's answer.
WORDS = stored_output(Output(text="approved", metadata={"modelId": "m", "inputTokens": 3}))
ANSWER = '{"score": 7, "user": {"name": "Ada"}, "tags": ["a", "b"]}'
JSON = stored_output(Output(text=ANSWER, metadata={"modelId": "m"}))
FENCED = stored_output(Output(text=f"```json\n{ANSWER}\n```"))
#: What a node of data stores, one with a key `data` of its own, and one whose text says the same once more.
DATA = stored_output(Output(text="[1]", artifact_kind="json", data={"items": [1], "count": 1}))
RESPONSE = stored_output(Output(artifact_kind="json", data={"status": 200, "data": {"id": 9}}))
MISSING = "nothing is there"


def found(row: dict[str, Any], path: str) -> Any:
    value = Source.of_output(row).find(path)
    return MISSING if isinstance(value, Missing) else value


@pytest.mark.parametrize(
    ("row", "path", "expected"),
    [
        (WORDS, "output", "approved"),
        (WORDS, "text", "approved"),
        (WORDS, "data", "approved"),
        (WORDS, "value", "approved"),
        (WORDS, "", "approved"),
        (WORDS, "$", "approved"),
        (WORDS, "modelId", "m"),
        (WORDS, "inputTokens", 3),
        (WORDS, "score", MISSING),
        (WORDS, "output.score", MISSING),
        (JSON, "output", ANSWER),
        (JSON, " text ", ANSWER),
        (JSON, "score", 7),
        (JSON, "$.score", 7),
        (JSON, "data.score", 7),
        (JSON, "output.score", 7),
        (JSON, "text.user.name", "Ada"),
        (JSON, "value.tags[1]", "b"),
        (JSON, "data.tags.0", "a"),
        (JSON, "modelId", "m"),
        (JSON, "kind", MISSING),
        (JSON, "data.nothing", MISSING),
        (FENCED, "score", 7),
        (FENCED, "output.user.name", "Ada"),
        (DATA, "items[0]", 1),
        (DATA, "data.count", 1),
        (DATA, "output", "[1]"),
        (RESPONSE, "data.id", 9),
        (RESPONSE, "data.status", MISSING),
        (RESPONSE, "status", 200),
    ],
)
def test_a_path_into_an_upstream(row: dict[str, Any], path: str, expected: Any) -> None:
    assert found(row, path) == expected


@pytest.mark.parametrize(
    ("row", "key", "expected"),
    [
        (JSON, "output", ANSWER),
        (JSON, "score", 7),
        (JSON, "data.user.name", "Ada"),
        (JSON, "output.tags.1", "b"),
        (JSON, "kind", "text"),
        (JSON, "misspelt", ANSWER),
        (JSON, "data.misspelt", ANSWER),
        (WORDS, "data", "approved"),
    ],
)
def test_a_key_of_an_edge(row: dict[str, Any], key: str, expected: Any) -> None:
    assert value_at(row, key) == expected


@pytest.mark.parametrize(
    "expression",
    ["score > 6", "data.score == 7", "output.score == 7", "text.includes('Ada')", "input.user.name == 'Ada'"],
)
def test_the_condition_of_an_edge_reads_the_same_names(expression: str) -> None:
    assert Condition.model_validate(expression).holds(JSON, "output")
    assert not Condition.model_validate(expression).holds(WORDS, "output")


def test_an_answers_own_key_wins_over_what_is_stored_beside_it() -> None:
    row = stored_output(Output(text='{"text": "Hallo", "kind": "greeting"}'))
    assert (found(row, "text"), found(row, "kind")) == ("Hallo", "greeting")
    assert value_at(row, "output") == '{"text": "Hallo", "kind": "greeting"}'


def test_a_long_text_that_is_no_json_is_no_trouble() -> None:
    deep = "[" * 100_000
    assert found(stored_output(Output(text=deep)), "output.a") == MISSING


keys = st.text("abcxyz", min_size=1, max_size=3)


@given(st.dictionaries(keys, json_values, min_size=1, max_size=4), st.booleans())
def test_every_key_of_an_answer_is_found_on_every_way(answer: dict[str, Any], is_fenced: bool) -> None:
    text = json.dumps(answer)
    row = stored_output(Output(text=f"```\n{text}\n```" if is_fenced else text))
    assume(not isinstance(Source.of_output(row).value, str))
    for key, value in answer.items():
        for path in (key, f"data.{key}", f"output.{key}", f"text.{key}", f"$.{key}", f"value.{key}"):
            assert found(row, path) == value
        assert value_at(row, key) == value_at(row, f"output.{key}") == value


@given(json_values.map(json.dumps) | st.text(max_size=20), st.text(max_size=12))
def test_any_path_into_any_text_ends_and_output_is_all_of_it(text: str, path: str) -> None:
    row = stored_output(Output(text=text))
    Source.of_output(row).find(path)
    value_at(row, path)
    assert value_at(row, "output") == row["output"]
