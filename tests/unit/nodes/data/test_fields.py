"""What nodes make of fields, names and texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.workflow import InvalidWorkflow, NodeFailure, Output
from app.workflow.values import compact_json
from tests.unit.nodes.trying import json_values, texts, try_node

ORDER = {"id": 7, "customer": {"name": "Ada", "tags": ["new", "vip"]}, "lines": [{"sku": "a", "n": 2}]}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("customer.name", "Ada"),
        ("$.customer.tags[1]", "vip"),
        ("lines.0.sku", "a"),
        ("artifactKind", "json"),
        ("customer", ORDER["customer"]),
    ],
)
def test_transform_gives_what_is_at_a_path(expression: str, value: Any) -> None:
    output = try_node("json_transform", ORDER, expression=expression)
    assert output.data == {"value": value, "expression": expression}


def test_transform_looks_at_the_node_that_it_names() -> None:
    output = try_node(
        "json_transform", ORDER, named={"other": {"a": 1}}, expression="a", sourceNodeId="other"
    )
    assert output.data["value"] == 1
    with pytest.raises(NodeFailure, match="not_found: node nobody"):
        try_node("json_transform", ORDER, expression="a", sourceNodeId="nobody")


@pytest.mark.parametrize("node_type", ["json_transform", "extract_field"])
def test_a_path_that_leads_nowhere_fails_unless_there_is_a_fallback(node_type: str) -> None:
    with pytest.raises(NodeFailure, match=r"not_found: there is nothing at 'customer.age'"):
        try_node(node_type, ORDER, path="customer.age")
    assert try_node(node_type, ORDER, path="customer.age", fallback=None).data["value"] is None
    assert try_node(node_type, ORDER, path="customer.age", fallback="unknown").data["value"] == "unknown"


@pytest.mark.parametrize(
    ("given_by", "settings", "data"),
    [
        (ORDER, {"path": "customer.name"}, {"value": "Ada"}),
        (ORDER, {"fields": ["id", "customer.name"]}, {"id": 7, "name": "Ada"}),
        (ORDER, {"fields": "id, customer.name"}, {"id": 7, "name": "Ada"}),
        (ORDER, {"fields": [{"path": "customer.name", "as": "who"}]}, {"who": "Ada"}),
        (ORDER, {"arrayPath": "lines", "field": "sku"}, {"items": ["a"], "count": 1, "truncated": False}),
        ([ORDER, {}], {"field": "id"}, {"items": [7, None], "count": 2, "truncated": False}),
        ([ORDER], {"fields": ["id"]}, {"items": [{"id": 7}], "count": 1, "truncated": False}),
        ({"items": [ORDER], "count": 1}, {"field": "count"}, {"value": 1}),
    ],
    ids=str,
)
def test_extract(given_by: Any, settings: dict[str, Any], data: dict[str, Any]) -> None:
    assert try_node("extract_field", given_by, **settings).data == data


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"mappings": [{"from": "id", "to": "number"}]}, {"customer": 1, "number": 7}),
        ({"mappings": {"id": "number"}, "dropUnmapped": True}, {"number": 7}),
        ({"renames": {"id": "number"}, "keepUnmapped": "false"}, {"number": 7}),
        ({"mappings": {"id": "number", "nothing": "x"}, "keepUnmapped": True}, {"customer": 1, "number": 7}),
    ],
    ids=str,
)
def test_rename(settings: dict[str, Any], value: dict[str, Any]) -> None:
    one = {"id": 7, "customer": 1}
    assert try_node("rename_field", one, **settings).data == {"value": value}
    assert try_node("rename_field", [one], **settings).data["items"] == [value]


@given(st.dictionaries(texts.filter(str.strip), json_values, min_size=1, max_size=4))
def test_renaming_there_and_back_changes_nothing(data: dict[str, Any]) -> None:
    there = {name: f"renamed {place}" for place, name in enumerate(data)}
    back = {new: old for old, new in there.items()}
    renamed = try_node("rename_field", compact_json([data]), mappings=there).data["items"]
    assert try_node("rename_field", compact_json(renamed), mappings=back).data["items"] == [data]


@pytest.mark.parametrize(
    "settings",
    [
        {"mappings": [{"from": "customer.name", "to": "who.name"}, {"to": "kind", "value": "order"}]},
        {"mapping": {"who.name": "customer.name", "kind": {"any": 1}}},
        {
            "mappings": [
                {"source": "customer.name", "target": "who.name"},
                {"target": "kind", "source": "nothing"},
            ]
        },
    ],
    ids=["list", "map", "other names"],
)
def test_data_mapper_makes_an_object_of_what_is_at_paths(settings: dict[str, Any]) -> None:
    value = try_node("data_mapper", ORDER, **settings).data["value"]
    assert value["who"] == {"name": "Ada"}
    assert value["kind"] in ("order", {"any": 1}, None)
    assert try_node("data_mapper", [ORDER, ORDER], **settings).data["items"] == [value, value]


def test_a_single_value_is_no_object_to_rename() -> None:
    with pytest.raises(NodeFailure, match="no_object"):
        try_node("rename_field", "some words", mappings={"a": "b"})


def test_variables_are_values_or_what_they_name() -> None:
    output = try_node(
        "set_variables",
        ORDER,
        inputs={"topic": "cats"},
        variables={"who": "{{p0.customer.name}}", "about": "{{ topic }}", "n": 3, "text": "for {{topic}}"},
    )
    assert output.data == {"who": "Ada", "about": "cats", "n": 3, "text": "for {{topic}}"}
    assert output.variables == output.data
    as_list = try_node("set_variables", ORDER, variables=[{"name": "n", "value": 3}])
    assert as_list.variables == {"n": 3}


def test_what_a_node_gave_is_never_read_as_a_name() -> None:
    output = try_node("set_variables", "{{secret}}", inputs={"secret": "s"}, variables={"x": "[[p0.output]]"})
    assert output.data["x"] == "{{secret}}"
    filled = try_node(
        "prompt_template", "{{secret}}", inputs={"secret": "s"}, template="[[p0.output]] {{in_p0}}"
    )
    assert filled.text == "{{secret}} {{secret}}"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Hello {{ name }}!", "Hello Ada!"),
        ("{{p0_text}}|{{p0.customer.name}}|{{p0_data.id}}", '{"id":7,"customer":{"name":"Ada"}}|Ada|7'),
        ("{{person.first}}", "Ada"),
        ("{{who}} and {{nobody}}.", "Ada and ."),
        ("{ not a name } {{}}", "{ not a name } {{}}"),
    ],
)
def test_prompt_template(template: str, text: str) -> None:
    output = try_node(
        "prompt_template",
        '{"id":7,"customer":{"name":"Ada"}}',
        inputs={"name": "Ada", "person": {"first": "Ada"}},
        template=template,
        variables={"who": "p0.customer.name"},
    )
    assert output.text == text


@given(texts, texts)
def test_values_go_into_a_template_as_they_are(value: str, around: str) -> None:
    literal = around.replace("{", "(").replace("[", "(")
    filled = try_node("prompt_template", inputs={"x": value}, template=f"{literal}-{{{{x}}}}-")
    assert filled.text == f"{literal}-{value}-"


@pytest.mark.parametrize(
    ("settings", "chunks"),
    [
        ({}, ["one two.", "three? four"]),
        ({"separator": "?"}, ["one two.\n\nthree", "four"]),
        ({"strategy": "sentence"}, ["one two.", "three?", "four"]),
        ({"splitBy": "characters", "chunkSize": 10, "overlap": 2}, ["one two.\n\n", "\n\nthree? f", " four"]),
        ({"chunkSize": "10", "chunkOverlap": "2"}, ["one two.\n\n", "\n\nthree? f", " four"]),
    ],
    ids=str,
)
def test_text_splitter(settings: dict[str, Any], chunks: list[str]) -> None:
    output = try_node("text_splitter", "one two.\n\nthree? four", **settings)
    assert (output.data["chunks"], output.data["count"]) == (chunks, len(chunks))


@given(texts.filter(bool), st.integers(1, 20), st.integers(0, 19))
def test_chunks_without_their_overlaps_are_the_text(text: str, size: int, overlap: int) -> None:
    overlap = min(overlap, size - 1)
    chunks = try_node(
        "text_splitter", Output(text=text), splitBy="characters", chunkSize=size, overlap=overlap
    )
    first, *others = chunks.data["chunks"]
    assert first + "".join(chunk[overlap:] for chunk in others) == text
    assert all(0 < len(chunk) <= size for chunk in chunks.data["chunks"])


def test_a_text_among_the_inputs_goes_before_the_upstream() -> None:
    assert try_node("text_splitter", "upstream", inputs={"text": "a\n\nb"}).data["chunks"] == ["a", "b"]
    with pytest.raises(NodeFailure, match="no_text"):
        try_node("text_splitter")


def test_a_text_is_not_cut_into_more_than_can_be_kept() -> None:
    with pytest.raises(NodeFailure, match="too_many_chunks"):
        try_node("text_splitter", "x" * 200_000, chunkSize=1000, overlap=999)


@pytest.mark.parametrize(
    ("node_type", "settings", "complaint"),
    [
        ("json_transform", {}, "expression"),
        ("extract_field", {}, "needs a field"),
        ("rename_field", {"mappings": []}, "mappings"),
        ("data_mapper", {}, "mappings"),
        ("set_variables", {"variables": {"__workflow_halt": True}}, "begin with __"),
        ("set_variables", {}, "variables"),
        ("prompt_template", {}, "template"),
        ("text_splitter", {"chunkSize": 5, "overlap": 5}, "smaller than chunkSize"),
        ("text_splitter", {"splitBy": "magic"}, "splitBy"),
    ],
)
def test_bad_settings_are_named_before_the_run(
    node_type: str, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidWorkflow, match=complaint):
        try_node(node_type, ORDER, **settings)
