"""Tokens: what they render to, and when the database's own way of replacing them is safe."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from pydantic import JsonValue

from app.errors import GiveUp
from app.templates import Limits, Parameter, render_tokens, values_are_inert
from app.templates.values import jsonb_order, text_of

TOPIC = Parameter(id="11111111-1111-4111-8111-111111111111", label="topic", required=True)
TONE = Parameter(id="22222222-2222-4222-8222-222222222222", label="tone of voice", required=False)

FRAGMENTS = ["[", "[[", "]]", "]", "a", "b", "ab", "[[a]]", "[[b]]", "[[ab]]", "[[]]", " ", "[a", "x"]
bracketed_text = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)
inputs_with_brackets = st.dictionaries(
    st.sampled_from(["", "a", "b", "ab", "bc", "[a", "a]", "1"]),
    bracketed_text | st.none() | st.integers(0, 20) | st.lists(bracketed_text | st.just([1]), max_size=2),
    max_size=5,
)


def render_as_the_database_does(body: str, inputs: dict[str, JsonValue]) -> str:
    """`fn_worker_render_template(body, inputs)`: one key after another over the growing text."""
    for key in sorted(inputs, key=jsonb_order):
        body = body.replace(f"[[{key}]]", text_of(inputs[key]))
    return body


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ("Hi [[name]]", {"name": "Bob"}, "Hi Bob"),
        ("[[ name ]] [[Name]] [[name|upcase]] [[:x]]", {"name": "Bob"}, None),
        ("[[missing]]", {}, None),
        (
            "[[n]] [[b]] [[nul]] [[obj]] [[arr]]",
            {"n": 3, "b": True, "nul": None, "obj": {"a": 1}, "arr": [1, "x"]},
            '3 true  {"a": 1} [1, "x"]',
        ),
        ("[[obj.a]]", {"obj": {"a": 1}}, None),
        ("[[obj.a]]", {"obj.a": "dotted"}, "dotted"),
        ("[[a]] [[b]]", {"a": "[[b]]", "b": "[[a]]"}, "[[b]] [[a]]"),
        ("[[bb]]", {"bb": "[[ddd]]", "ddd": "D"}, "[[ddd]]"),
        ("x[[]]y", {"": "E"}, "xEy"),
        ("[[[a]]]", {"a": "v"}, "[v]"),
        ("[[a]] [[b]]", {"a": 1, "a]] [[b": "both", "b": 2}, "1 2"),
        ("[[a.c]] [[axc]]", {"a.c": "dot"}, "dot [[axc]]"),
        ("\\1 [[a]]\r\n", {"a": "\\g<0>\r\n\0"}, "\\1 \\g<0>\r\n\0\r\n"),
        ("", {"a": "x"}, ""),
    ],
)
def test_every_input_names_a_token_when_nothing_is_declared(body, inputs, expected):
    assert render_tokens(body, inputs) == (body if expected is None else expected)


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ("[[topic]] [[tone of voice]]", {"topic": "tea", "tone of voice": "dry"}, "tea dry"),
        (f"[[:{TOPIC.id}]], [[:{TONE.id}]].", {"topic": "tea"}, "tea, ."),
        (f"[[:{TOPIC.id}]]", {"topic": "[[topic]]"}, "[[topic]]"),
        ("[[topic]] [[other]] [[:other]]", {"topic": "tea", "other": "o"}, "tea [[other]] [[:other]]"),
        ("[[tone of voice]]", {"topic": 0, "tone of voice": None}, ""),
    ],
)
def test_only_declared_parameters_name_tokens_when_there_are_any(body, inputs, expected):
    assert render_tokens(body, inputs, parameters=[TOPIC, TONE]) == expected


@pytest.mark.parametrize("inputs", [{}, {"topic": None}, {"topic": ""}, {"topic": "  "}, {"Topic": "x"}])
def test_a_missing_required_input_is_named(inputs):
    with pytest.raises(GiveUp) as raised:
        render_tokens("no token at all", inputs, parameters=[TONE, TOPIC])
    assert raised.value.code == "template.missing_input"
    assert "'topic'" in raised.value.message
    assert "tone" not in raised.value.message


@pytest.mark.parametrize("value", [0, False, [], {}, "x", "\n"])
def test_falsy_data_is_not_missing(value):
    assert render_tokens("no token at all", {"topic": value}, parameters=[TOPIC]) == "no token at all"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        ("", ""),
        ('say "é"', 'say "é"'),
        (1.5, "1.5"),
        (1e20, "100000000000000000000"),
        (1e-7, "0.0000001"),
        (-3, "-3"),
        (-0.0, "0.0"),
        (Decimal("1.10"), "1.10"),
        ({}, "{}"),
        ([], "[]"),
        ([None, True, [], {"": "\n"}], '[null, true, [], {"": "\\n"}]'),
        ({"bb": 1, "c": 'q"é', "a": {"z": 2.0}}, '{"a": {"z": 2.0}, "c": "q\\"é", "bb": 1}'),
    ],
)
def test_values_have_the_text_form_of_jsonb(value, text):
    assert text_of(value) == text


def test_what_json_has_not_has_no_text():
    with pytest.raises(TypeError, match="set"):
        text_of({"a": {1}})


def test_an_output_beyond_the_limit_is_refused_before_it_is_built():
    with pytest.raises(GiveUp) as raised:
        render_tokens("[[a]]" * 1000, {"a": "x" * 100_000})
    assert raised.value.code == "template.limit_exceeded"
    assert render_tokens("[[a]]", {"a": "xyz"}, limits=Limits(text_characters=3)) == "xyz"


def test_an_input_nested_beyond_reason_is_refused():
    nested: JsonValue = 1
    for _ in range(5000):
        nested = {"a": nested}
    with pytest.raises(GiveUp) as raised:
        render_tokens("[[a]]", {"a": nested})
    assert raised.value.code == "template.limit_exceeded"
    assert not values_are_inert("[[a]]", {"a": nested})


@given(body=bracketed_text, inputs=inputs_with_brackets)
def test_where_values_are_inert_the_database_renders_the_same(body, inputs):
    inert = values_are_inert(body, inputs)
    same = render_as_the_database_does(body, inputs) == render_tokens(body, inputs)
    event(f"inert {inert}, same {same}")
    assert same or not inert


@given(
    body=st.lists(st.sampled_from(["[[a]]", "[[b]]", "(x)", " ", "{}", "]"]), max_size=8).map("".join),
    a=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="[")) | st.lists(st.integers()),
    b=st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
)
def test_ordinary_templates_and_values_are_inert(body, a, b):
    assert values_are_inert(body, {"a": a, "b": b})


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("[[a]] [[b]]", {"a": "[[b]]", "b": "x"}),
        ("[[[[a]]b]]", {"a": "", "b": "x"}),
        ("[[[a]][b]]", {"a": "", "b": "x"}),
        ("[[a]][b]]", {"a": "[", "b": "x"}),
        ("[[x[[a]]]]", {"a": "1", "x1": "never"}),
        ("[[[n]]]]", {"n": [1], "[n": 2}),
        ("[[a]]", {"a": [[1]]}),
    ],
)
def test_values_that_could_meet_a_bracket_are_not_inert(body, inputs):
    assert not values_are_inert(body, inputs)


def test_values_that_are_not_inserted_do_not_matter():
    assert values_are_inert("[[a]]", {"a": "x", "prompt": "Compare [[a]] with [[b]]"})


@given(value=st.text(), around=st.text(st.characters(blacklist_characters="[]", blacklist_categories=["Cs"])))
def test_a_value_comes_out_as_it_went_in(value, around):
    assert render_tokens(f"{around}[[v]]{around}", {"v": value}) == f"{around}{value}{around}"
