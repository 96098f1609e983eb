"""What an output parser finds in models' answers, and what hostile schemas can't do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from app.workflow import InvalidWorkflow, NodeFailure
from app.workflow.values import compact_json
from tests.unit.nodes.trying import json_values, texts, try_node

PERSON = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"name": "Ada"}', {"name": "Ada"}),
        ('Sure!\n```json\n{"name": "Ada"}\n```\nAnything else?', {"name": "Ada"}),
        ('```python\nx = 1\n```\n```json\n{"name": "Ada"}\n```', {"name": "Ada"}),
        ('The answer {as asked} is {"name": "Ada"}, {"name": "Bob"}', {"name": "Ada"}),
        ("Take [1, 2] of them", {"value": [1, 2]}),
        ("42", {"value": 42}),
    ],
)
def test_json_is_found_among_words(text: str, value: dict[str, Any]) -> None:
    assert try_node("output_parser", text).data == {**value, "__parsed": True, "__missing": []}


@given(json_values.filter(lambda value: isinstance(value, list | dict)), texts, texts)
def test_json_in_a_fence_is_read_back(value: Any, before: str, after: str) -> None:
    text = f"{before.replace('`', '')}\n```json\n{compact_json(value)}\n```\n{after.replace('`', '')}"
    if not before.strip("`"):
        assert compact_json(_parsed(try_node("output_parser", text).data)) == compact_json(value)


def _parsed(data: dict[str, Any]) -> Any:
    own = {key: inner for key, inner in data.items() if key not in ("__parsed", "__missing")}
    return own["value"] if isinstance(own.get("value"), list) and len(own) == 1 else own


def test_a_text_without_json_fails() -> None:
    with pytest.raises(NodeFailure, match="no_json"):
        try_node("output_parser", "I can't do that {sorry}")


def test_a_path_leads_to_the_part_that_counts() -> None:
    text = '{"answer": {"items": [{"name": "Ada"}]}}'
    assert try_node("output_parser", text, jsonPath="answer.items[0]").data["name"] == "Ada"
    with pytest.raises(NodeFailure, match="not_found"):
        try_node("output_parser", text, jsonPath="answer.people")


@pytest.mark.parametrize(
    "fields", [["name", "age"], "name, age", '["name", "age"]', [{"name": "name"}, {"key": "age"}]], ids=str
)
def test_missing_fields_are_told_and_fail_a_strict_node(fields: Any) -> None:
    assert try_node("output_parser", '{"name": "Ada"}', fields=fields).data["__missing"] == ["age"]
    with pytest.raises(NodeFailure, match="missing_required: age"):
        try_node("output_parser", '{"name": "Ada"}', fields=fields, strict="true")


def test_a_schema_is_held_against_the_value_and_no_value_is_told() -> None:
    assert try_node("output_parser", '{"name": "Ada"}', schema=PERSON).data["name"] == "Ada"
    with pytest.raises(NodeFailure, match="schema_violation") as raised:
        try_node("output_parser", '{"name": 77123}', schema=compact_json(PERSON))
    assert raised.value.error == "schema_violation: $.name: type"


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"type": "people"}, "no valid JSON schema at"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties is not supported"),
        ("not a schema", "schema"),
    ],
    ids=["type", "pattern", "text"],
)
def test_a_bad_schema_is_named_before_the_run(schema: Any, complaint: str) -> None:
    with pytest.raises(InvalidWorkflow, match=complaint):
        try_node("output_parser", "{}", schema=schema)


DOUBLING = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"$ref": "http://127.0.0.1:9/schema"}, "leads nowhere"),
        ({"$ref": "#"}, "without end|too many references"),
        ({"$ref": "#/$defs/d0", "$defs": {**DOUBLING, "d40": {}}}, "too many references"),
        ({"pattern": "(a+)+$"}, "schema_violation"),
    ],
    ids=["remote", "itself", "doubling", "backtracking"],
)
def test_no_schema_keeps_a_worker_busy_or_makes_it_fetch(schema: dict[str, Any], complaint: str) -> None:
    text = compact_json(["a" * 40 + "!"])
    with pytest.raises(NodeFailure, match=complaint):
        try_node("output_parser", text, schema=schema, jsonPath="0")
