"""What nodes make of lists."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.workflow import InvalidWorkflow, NodeFailure, Output
from app.workflow.values import compact_json
from tests.unit.nodes.trying import json_values, try_node

PEOPLE = [
    {"name": "Ada", "age": 36, "city": "London", "tags": ["a", "b"]},
    {"name": "Grace", "age": "85", "city": "New York", "tags": []},
    {"name": "Alan", "age": 41, "city": "London"},
    {"name": "Edsger", "city": None},
]
NAMES = ["Ada", "Grace", "Alan", "Edsger"]
LONDON = {"field": "city", "operator": "eq", "value": "London"}

json_lists = st.lists(json_values, max_size=20)


def items(node_type: str, *parents: Any, **settings: Any) -> Any:
    return try_node(node_type, *parents, **settings).data["items"]


def names(found: Any) -> list[str]:
    return [item["name"] for item in found]


@pytest.mark.parametrize(
    ("parent", "settings"),
    [
        (PEOPLE, {}),
        ({"items": PEOPLE}, {}),
        ({"value": PEOPLE}, {}),
        (compact_json(PEOPLE), {}),
        (f"Here it is:\n```json\n{compact_json(PEOPLE)}\n```", {}),
        ({"people": {"all": PEOPLE}}, {"arrayPath": "people.all"}),
        ({"people": {"all": PEOPLE}}, {"array_path": "$.people.all"}),
        ({"pages": [{"people": PEOPLE}]}, {"arrayPath": "pages[0].people"}),
        ({"people": compact_json(PEOPLE)}, {"arrayPath": "people"}),
    ],
    ids=lambda value: None if isinstance(value, dict) else "",
)
def test_a_list_is_found_where_it_is(parent: Any, settings: dict[str, Any]) -> None:
    assert items("sort", parent, **settings) == items("sort", PEOPLE)


def test_without_a_list_a_node_fails_and_says_where_there_is_one() -> None:
    with pytest.raises(NodeFailure, match=r"no_list.*arrayPath to one of: people"):
        try_node("sort", {"people": PEOPLE})
    with pytest.raises(NodeFailure, match="no_list: there is none at 'nobody'"):
        try_node("sort", {"people": PEOPLE}, arrayPath="nobody")


def test_the_upstream_is_the_first_direct_parent() -> None:
    assert items("sort", [3, 1], [9, 8]) == [1, 3]


def test_no_more_items_are_given_than_asked_for() -> None:
    output = try_node("sort", list(range(1500)))
    assert (len(output.data["items"]), output.data["truncated"]) == (1000, True)
    assert items("filter_items", list(range(50)), maxItems=3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, NAMES),
        ({"field": "city", "operator": "eq", "value": "London"}, ["Ada", "Alan"]),
        ({"field": "city", "value": "London"}, ["Ada", "Alan"]),
        ({"field": "city", "operator": "neq", "value": "London"}, ["Grace", "Edsger"]),
        ({"field": "age", "operator": "gt", "value": "40"}, ["Grace", "Alan"]),
        ({"field": "age", "operator": "gte", "value": 41}, ["Grace", "Alan"]),
        ({"field": "age", "operator": "lt", "value": 40}, ["Ada"]),
        ({"field": "age", "operator": "lte", "value": 36}, ["Ada"]),
        ({"field": "name", "operator": "gt", "value": "B"}, ["Grace", "Edsger"]),
        ({"field": "name", "operator": "contains", "value": "a"}, ["Ada", "Grace", "Alan"]),
        ({"field": "tags", "operator": "contains", "value": "a"}, ["Ada"]),
        ({"field": "name", "operator": "in", "value": ["Ada", "Alan"]}, ["Ada", "Alan"]),
        ({"field": "name", "operator": "in", "value": "Ada, Alan"}, ["Ada", "Alan"]),
        ({"field": "age", "operator": "exists"}, ["Ada", "Grace", "Alan"]),
        ({"field": "age", "operator": "exists", "value": False}, ["Edsger"]),
        ({"field": "tags[0]", "operator": "exists"}, ["Ada"]),
        ({"conditions": [{"field": "age", "operator": "gt", "value": 40}, LONDON]}, ["Alan"]),
        ({"match": "or", "conditions": [{"path": "age", "operator": ">", "value": 80}, LONDON]}, NAMES[:3]),
        ({"condition": "age > 40 && city == 'London'"}, ["Alan"]),
        ({"condition": "item.age > 40"}, ["Grace", "Alan"]),
        ({"condition": "person => person.tags.includes('b')"}, ["Ada"]),
        ({"condition": "(p) => p.name.startsWith('A')", "limit": "1"}, ["Ada"]),
        ({"condition": "", "field": "", "operator": "", "value": ""}, NAMES),
        ({"param_overrides": {"__condition": "age > 40", "__limit": "1"}}, ["Grace"]),
    ],
    ids=str,
)  # fmt: skip
def test_filter(settings: dict[str, Any], expected: list[str]) -> None:
    output = try_node("filter_items", PEOPLE, **settings)
    assert names(output.data["items"]) == expected
    assert (output.data["inputCount"], output.data["outputCount"]) == (4, len(expected))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"field": "name"}, ["Ada", "Alan", "Edsger", "Grace"]),
        ({"field": "name", "direction": "desc"}, ["Grace", "Edsger", "Alan", "Ada"]),
        ({"field": "age"}, ["Ada", "Alan", "Grace", "Edsger"]),
        ({"field": "age", "direction": "desc"}, ["Grace", "Alan", "Ada", "Edsger"]),
        ({"sortBy": "age"}, ["Ada", "Alan", "Grace", "Edsger"]),
        ({"sortBy": "-age"}, ["Grace", "Alan", "Ada", "Edsger"]),
        ({"sortBy": "city desc, name"}, ["Grace", "Ada", "Alan", "Edsger"]),
        ({"sortBy": [{"field": "city"}, {"field": "age", "order": "desc"}]}, ["Alan", "Ada", *NAMES[1::2]]),
        (
            {"field": "city", "secondaryField": "name", "direction": "desc"},
            ["Grace", "Alan", "Ada", "Edsger"],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_sort(settings: dict[str, Any], expected: list[str]) -> None:
    assert names(items("sort", PEOPLE, **settings)) == expected


@given(json_lists, st.sampled_from(["asc", "desc"]))
def test_sorting_keeps_every_item_and_doing_it_again_changes_nothing(
    values: list[Any], direction: str
) -> None:
    once = items("sort", values, direction=direction)
    assert sorted(map(compact_json, once)) == sorted(map(compact_json, values))
    assert compact_json(items("sort", once, direction=direction)) == compact_json(once)


@given(st.lists(st.fixed_dictionaries({"key": st.integers(0, 3), "place": st.integers()})))
def test_sorting_leaves_equal_items_in_their_order(values: list[Any]) -> None:
    numbered = [{**value, "place": place} for place, value in enumerate(values)]
    for direction in ("asc", "desc"):
        found = items("sort", numbered, field="key", direction=direction)
        for key in range(4):
            places = [item["place"] for item in found if item["key"] == key]
            assert places == sorted(places)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, NAMES),
        ({"keys": "city"}, ["Ada", "Grace", "Edsger"]),
        ({"keys": ["city"]}, ["Ada", "Grace", "Edsger"]),
        ({"key": "city"}, ["Ada", "Grace", "Edsger"]),
        ({"keyPath": "city"}, ["Ada", "Grace", "Edsger"]),
        ({"keys": ["city"], "keep": "last"}, ["Grace", "Alan", "Edsger"]),
        ({"key": "city", "keepFirst": "false"}, ["Grace", "Alan", "Edsger"]),
    ],
    ids=str,
)  # fmt: skip
def test_deduplicate(settings: dict[str, Any], expected: list[str]) -> None:
    output = try_node("deduplicate", PEOPLE, **settings)
    assert names(output.data["items"]) == expected
    assert output.data["removed"] == 4 - len(expected)


@given(json_lists)
def test_deduplicating_leaves_one_of_each_and_in_order(values: list[Any]) -> None:
    kept = items("deduplicate", values + values)
    assert compact_json(kept) == compact_json(items("deduplicate", values))
    assert compact_json(items("deduplicate", kept)) == compact_json(kept)
    assert {"a": 1, "b": 1.0} in items("deduplicate", [{"a": 1, "b": 1.0}, {"b": 1, "a": 1}])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 4),
        ({"operation": "count", "field": "age"}, 3),
        ({"operation": "sum", "field": "age"}, 162),
        ({"operation": "avg", "field": "age"}, 54),
        ({"operation": "min", "field": "age"}, 36),
        ({"operation": "max", "field": "age"}, "85"),
        ({"operation": "max", "field": "name"}, "Grace"),
        ({"operation": "unique", "field": "city"}, ["London", "New York"]),
        ({"operation": "first", "field": "name"}, "Ada"),
        ({"operation": "last", "field": "name"}, "Edsger"),
        ({"operation": "concat", "field": "name", "separator": "+"}, "Ada+Grace+Alan+Edsger"),
        ({"operation": "avg", "field": "nothing"}, 0),
        ({"operation": "min", "field": "nothing"}, None),
        ({"metrics": [{"op": "sum", "field": "age", "as": "years"}, "count"]}, {"years": 162, "count": 4}),
    ],
    ids=str,
)  # fmt: skip
def test_aggregate(settings: dict[str, Any], expected: Any) -> None:
    assert try_node("aggregate", PEOPLE, **settings).data["value"] == expected


def test_aggregating_groups() -> None:
    output = try_node("aggregate", PEOPLE, groupBy="city", operation="sum", field="age")
    assert output.data["groups"] == [
        {"key": "London", "value": 77, "count": 2},
        {"key": "New York", "value": 85, "count": 1},
        {"key": None, "value": 0, "count": 1},
    ]


def test_what_is_no_number_is_not_added_up() -> None:
    with pytest.raises(NodeFailure, match="not_a_number: value 1 of 4"):
        try_node("aggregate", PEOPLE, operation="sum", field="name")


@given(st.lists(st.fixed_dictionaries({"key": st.sampled_from("abc"), "n": st.integers(-99, 99)})))
def test_groups_add_up_to_the_whole(values: list[Any]) -> None:
    groups = try_node("aggregate", values, groupBy="key", operation="sum", field="n").data["groups"]
    assert sum(group["value"] for group in groups) == sum(value["n"] for value in values)
    assert sum(group["count"] for group in groups) == len(values)


@given(json_lists, st.integers(1, 40))
def test_batches_put_together_are_the_list(values: list[Any], size: int) -> None:
    output = try_node("split_in_batches", values, batchSize=size)
    batches = output.data["items"]
    assert compact_json([item for batch in batches for item in batch]) == compact_json(values)
    assert all(len(batch) == size for batch in batches[:-1])
    assert output.data["batchCount"] == len(batches)


def test_a_list_can_be_fed_to_a_node_that_reads_text() -> None:
    assert try_node("filter_items", [1, 2], condition="item > 1").text == "[2]"


def test_a_later_node_reads_counts_by_name() -> None:
    kept = try_node("filter_items", [1, 2], condition="item > 1")
    assert try_node("if_condition", kept, expression="outputCount == 1").data["matched"] is True


@pytest.mark.parametrize(
    ("node_type", "settings", "complaint"),
    [
        ("filter_items", {"operator": "is_like", "field": "a"}, "operator"),
        ("filter_items", {"condition": "age >"}, "condition"),
        ("filter_items", {"condition": "fetch('x')"}, "condition"),
        ("filter_items", {"maxItems": "all"}, "maxItems"),
        ("aggregate", {"operation": "median"}, "operation"),
        ("split_in_batches", {"batchSize": 0}, "batchSize"),
    ],
)
def test_bad_settings_are_named_before_the_run(
    node_type: str, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidWorkflow, match=complaint):
        try_node(node_type, PEOPLE, **settings)


def test_an_output_is_data_of_its_own_beside_its_text() -> None:
    assert try_node("sort", Output(text="[2, 1]")).data["items"] == [1, 2]
