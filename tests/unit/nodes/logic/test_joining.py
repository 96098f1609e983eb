"""Joins of a merge node; what each gives is written by hand, as SQL has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.nodes.logic.joining import JoinKind, join
from app.nodes.logic.merging import Merge, merge_branches
from app.workflow import Output, stored_output

KINDS: list[JoinKind] = ["inner", "left", "right", "full"]
PEOPLE = [{"id": 1, "a": "Ada"}, {"id": 2, "a": "Bob"}, {"id": None, "a": "Cy"}, {"a": "Di"}]
PETS = [
    {"id": 1, "b": "cat"},
    {"id": 1, "b": "dog"},
    {"id": 3, "b": "owl"},
    {"id": None, "b": "rat"},
    {"b": "yak"},
]

ADA = [{"id": 1, "a": "Ada", "b": "cat"}, {"id": 1, "a": "Ada", "b": "dog"}]
LONELY_PEOPLE = [{"id": 2, "a": "Bob"}, {"id": None, "a": "Cy"}, {"a": "Di"}]
LONELY_PETS = [{"id": 3, "b": "owl"}, {"id": None, "b": "rat"}, {"b": "yak"}]


def joined(kind: JoinKind, *branches: list[dict[str, Any]], most: int = 1000) -> list[Any]:
    return join(branches, "id", kind, most).rows


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("inner", ADA),
        ("left", ADA + LONELY_PEOPLE),
        ("right", ADA + LONELY_PETS),
        ("full", ADA + LONELY_PEOPLE + LONELY_PETS),
    ],
)
def test_null_equals_nothing_and_each_match_gives_an_item(kind: JoinKind, rows: list[Any]) -> None:
    assert joined(kind, PEOPLE, PETS) == rows
    assert join([PEOPLE, PETS], "id", kind, 1000).total == len(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_several_on_both_sides_give_every_pair(kind: JoinKind) -> None:
    left, right = ([{"id": 1, side: n} for n in (1, 2)] for side in "lr")
    found = joined(kind, left, right)
    assert sorted((each["l"], each["r"]) for each in found) == [(1, 1), (1, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        (1, 1.0, True),
        (1, "1", True),
        (0, -0.0, True),
        (2**53 + 1, float(2**53), False),
        (1, "1.0", False),
        (1, "01", False),
        (1, True, False),
        ("true", True, False),
        (True, True, True),
        ("a", "A", False),
        ("", "", True),
        ("", None, False),
        (0, None, False),
        ("null", None, False),
        ("None", None, False),
        ({"a": 1, "b": [2.0]}, {"b": [2], "a": 1}, True),
        ({"a": 1}, '{"a":1}', False),
        ([1, 2], [2, 1], False),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_which_keys_are_equal(kind: JoinKind, one: Any, other: Any, are_equal: bool) -> None:
    both = [{"id": one, "l": 1, "r": 2}]
    apart = {"inner": [], "left": [{"id": one, "l": 1}], "right": [{"id": other, "r": 2}]}
    apart["full"] = apart["left"] + apart["right"]
    expected = both if are_equal else apart[kind]
    if are_equal:
        assert len(joined(kind, [{"id": one, "l": 1}], [{"id": other, "r": 2}])) == 1
    else:
        assert joined(kind, [{"id": one, "l": 1}], [{"id": other, "r": 2}]) == expected


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("inner", []),
        ("left", [{"id": 1, "a": 1, "b": 1}, {"id": 2, "a": 2, "c": 2}]),
        ("right", [{"id": 2, "c": 2}, {"id": 3, "b": 3, "c": 3}, {"id": 4, "c": 4}]),
        (
            "full",
            [
                {"id": 1, "a": 1, "b": 1},
                {"id": 2, "a": 2, "c": 2},
                {"id": 3, "b": 3, "c": 3},
                {"id": 4, "c": 4},
            ],
        ),
    ],
)
def test_three_lists_are_joined_one_after_the_other(kind: JoinKind, rows: list[Any]) -> None:
    a, b, c = (
        [{"id": n, name: n} for n in ids] for name, ids in (("a", (1, 2)), ("b", (1, 3)), ("c", (2, 3, 4)))
    )
    assert joined(kind, a, b, c) == rows


def test_the_earlier_lists_field_counts() -> None:
    assert joined("left", [{"id": "1", "n": None}], [{"id": 1, "n": 2, "m": 3}]) == [
        {"id": "1", "n": None, "m": 3}
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_lists_without_items_or_without_others(kind: JoinKind) -> None:
    row = {"id": 1, "a": 1}
    assert joined(kind) == joined(kind, [], []) == []
    assert joined(kind, [row]) == [row]
    assert joined(kind, [row], []) == ([row] if kind in ("left", "full") else [])
    assert joined(kind, [], [row]) == ([row] if kind in ("right", "full") else [])


def test_a_huge_product_is_counted_and_not_made() -> None:
    many = [{"id": 1}] * 1000
    found = join([many] * 5, "id", "full", 10)
    assert (len(found.rows), found.total) == (10, 1000**5)


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({"mode": "key_join"}, [1, 2]),
        ({"mode": "key_join", "joinType": "inner"}, [1]),
        ({"mode": "inner_join"}, [1]),
        ({"mode": "right_join"}, [1, 3]),
        ({"strategy": "outer_join"}, [1, 2, 3]),
        ({"mode": "full_join", "maxItems": 2}, [1, 2]),
    ],
)
def test_a_merge_node_names_its_join(settings: dict[str, Any], ids: list[int]) -> None:
    branches = [Output(data={"items": [{"id": n} for n in each]}) for each in ((1, 2), (1, 3))]
    stored = [(f"p{place}", stored_output(branch)) for place, branch in enumerate(branches)]
    data = merge_branches(Merge.model_validate({"joinKey": "id", **settings}), stored).data
    assert [each["id"] for each in data["items"]] == ids  # type: ignore[index,union-attr,call-overload]
    assert data["truncated"] is ("maxItems" in settings)


_rows = st.lists(st.fixed_dictionaries({"id": st.none() | st.integers(0, 3)}), max_size=6)


@given(_rows, _rows)
def test_two_lists_agree_with_the_definition_of_sql(left: list[Any], right: list[Any]) -> None:
    left = [{**row, "l": place} for place, row in enumerate(left)]
    right = [{**row, "r": place} for place, row in enumerate(right)]
    pairs = [(a, b) for a in left for b in right if a["id"] is not None and a["id"] == b["id"]]
    matched_left, matched_right = {a["l"] for a, _ in pairs}, {b["r"] for _, b in pairs}
    inner = [{**a, "r": b["r"]} for a, b in pairs]
    only_left = [a for a in left if a["l"] not in matched_left]
    only_right = [b for b in right if b["r"] not in matched_right]
    expected = {
        "inner": inner,
        "left": inner + only_left,
        "right": inner + only_right,
        "full": inner + only_left + only_right,
    }
    for kind in KINDS:
        assert sorted(map(repr, map(_sorted, joined(kind, left, right)))) == sorted(
            map(repr, map(_sorted, expected[kind]))
        )


def _sorted(row: dict[str, Any]) -> list[Any]:
    return sorted(row.items())
