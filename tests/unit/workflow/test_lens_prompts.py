"""The prompt of a lens node: every spelling of a placeholder, and values that stay values."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.templates import Parameter
from app.workflow import NodeFailure, NodeStatus, render_lens

TOPIC = Parameter(id="11111111-1111-4111-8111-111111111111", label="Main Topic", required=True)
TONE = Parameter(id="22222222-2222-4222-8222-222222222222", label="tone", required=False)
PARAMETERS = [TOPIC, TONE]
LABELS = {"Main Topic": "cats", "n": 3, "list": [1, {"a": 2.0}]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[[Main Topic]] [[main_topic]] {{Main Topic}} {{ main_topic }}", "cats cats cats cats"),
        ("[ MAIN topic ] [  main_topic  ]", "cats cats"),
        ("[[n]] {{list}}", '3 [1,{"a":2}]'),
        ("[[Main Topic:text]] [[n!]] [[gone!]].", "cats 3 ."),
        (f"[[:{TOPIC.id}]] [[:{TOPIC.id.upper()}]] [[:{TONE.id}]].", "cats cats ."),
        ("[[tone]].", "."),
        ("[[:33333333-3333-4333-8333-333333333333]]", "[[:33333333-3333-4333-8333-333333333333]]"),
        (
            "[] [x] [ ] [[]] {} {x} [a](http://x) - [ ] todo",
            "[] [x] [ ] [[]] {} {x} [a](http://x) - [ ] todo",
        ),
        ("[[:connector:slack.chat.x]]", "[[:connector:slack.chat.x]]"),
        ("{{ main_topic | upcase }} [[n]] {% if n > 2 %}many{% endif %}", "CATS 3 many"),
    ],
)
def test_placeholders(body, expected):
    assert render_lens(body, LABELS, parameters=() if "{%" in body else PARAMETERS) == expected


@pytest.mark.parametrize(
    ("body", "placeholder"),
    [
        *((body, "gone") for body in ("[[gone]]", "{{gone}}", "[ gone ]", "[[tone]] [[gone]]")),
        ("[[MAIN_TOPIC]]", "MAIN_TOPIC"),
        ("{% if n %}{{ gone }}{% endif %}", "line 1, column 14: no value for 'gone'"),
    ],
)
def test_a_placeholder_without_a_value_blocks_the_node(body, placeholder):
    with pytest.raises(NodeFailure, match="placeholder_unbound") as raised:
        render_lens(body, LABELS, optional={"tone"})
    assert raised.value.result.status is NodeStatus.BLOCKED
    assert raised.value.output_data == {"placeholder": placeholder}


@pytest.mark.parametrize("body", ["", "  \n"])
def test_a_lens_without_text_fails(body):
    with pytest.raises(NodeFailure, match=r"template_resolution_failed: the lens has no text"):
        render_lens(body, LABELS)


def test_liquid_that_cannot_be_parsed_fails():
    with pytest.raises(NodeFailure, match="template_resolution_failed: "):
        render_lens("{% if %}", LABELS)


def test_a_prompt_has_a_largest_size():
    with pytest.raises(NodeFailure, match="context_too_large"):
        render_lens("[[x]]" * 3, {"x": "a" * 400_000})


def test_the_preface_is_not_a_template():
    assert render_lens("[[n]]", LABELS, preface="[[n]] {{gone}}\n") == "[[n]] {{gone}}\n3"


hostile = st.lists(
    st.sampled_from(["[[a]]", "[[b]]", "{{b}}", "[ b ]", "[[gone]]", "$&", "\\1", "x", "[", "]"])
)


@settings(deadline=None)
@given(hostile.map("".join), hostile.map("".join))
def test_values_are_never_read_as_templates(a, b):
    assert render_lens("<[[a]]|{{b}}|[ a ]>", {"a": a, "b": b}) == f"<{a}|{b}|{a}>"
