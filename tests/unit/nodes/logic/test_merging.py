"""What merge nodes make of their parents' outputs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.nodes.logic.merging import MOST_ITEMS, Merge, merge_branches
from app.workflow import Output, stored_output


def merged(*parents: Output, **settings: Any) -> Output:
    given_by = [(f"p{number}", stored_output(parent)) for number, parent in enumerate(parents)]
    return merge_branches(Merge.model_validate(settings), given_by)


def items(*values: Any) -> Output:
    return Output(data={"items": list(values)})


def test_texts_are_items_of_their_own_and_joined_by_blank_lines() -> None:
    output = merged(Output(text="one"), Output(text="two"))
    assert output.text == "one\n\ntwo"
    assert output.data == {"items": ["one", "two"], "branchCount": 2, "totalCount": 2, "truncated": False}


def test_a_text_that_is_json_counts_as_what_it_says() -> None:
    assert merged(Output(text="[1, 2]"), items(3)).data["items"] == [1, 2, 3]


def test_combined_objects_win_in_the_order_of_the_edges() -> None:
    output = merged(Output(data={"a": 1, "b": 1}), Output(data={"b": 2}), Output(text="no"), mode="combine")
    assert output.data == {"merged": {"a": 1, "b": 2}}


def test_items_of_the_first_parent_are_completed_by_those_with_the_same_key() -> None:
    output = merged(
        items({"id": 1, "name": "Ada"}, {"id": 2}),
        items({"id": 1, "age": 36}, {"id": 3}),
        mode="key_join",
        joinKey="id",
    )
    assert output.data == {
        "items": [{"id": 1, "name": "Ada", "age": 36}, {"id": 2}],
        "leftCount": 2,
        "rightCount": 2,
        "totalCount": 2,
        "truncated": False,
    }


@pytest.mark.parametrize("settings", [{"mode": "key_join"}, {"mode": "outer_join"}, {"maxItems": "many"}])
def test_settings_that_can_not_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        merged(items(1), **settings)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mode": "shuffle"}, [1, 2]),
        ({"strategy": "zip", "mergeKey": "id"}, [1, 2]),
        ({"mode": ""}, [1, 2]),
        ({"maxItems": 0}, [1]),
        ({"maxItems": MOST_ITEMS + 1}, [1, 2]),
        ({"waitForAll": True}, [1, 2]),
    ],
)
def test_settings_that_a_merge_does_not_know_are_passed_over(
    settings: dict[str, Any], expected: list[int]
) -> None:
    assert merged(items(1), items(2), **settings).data["items"] == expected


@given(st.lists(st.lists(st.integers(), max_size=8), max_size=5), st.integers(1, 20))
def test_never_more_items_than_allowed_and_all_of_them_are_counted(
    branches: list[list[int]], most: int
) -> None:
    output = merged(*(items(*branch) for branch in branches), maxItems=most)
    every = [item for branch in branches for item in branch]
    assert output.data["items"] == every[:most]
    assert output.data["totalCount"] == len(every)
    assert output.data["truncated"] is (len(every) > most)
