"""What is read out of the answers of models, each right value written by hand."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.texts.answers import block_in, json_in, label_for, label_in, readings
from app.texts.thinking import without_thinking
from tests.unit.nodes.trying import json_values, texts

ADA = {"name": "Ada"}
LABELS = ["Toys", "Animals", "C++", "Not sure."]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"name": "Ada"}', ADA),
        ('\ufeff{"name": "Ada"}\n', ADA),
        ('"{\\"name\\": \\"Ada\\"}"', ADA),
        ('<think>{"name": "Bob"} or {"name": "Eve"}?</think>\n{"name": "Ada"}', ADA),
        ('Let me see: {"name": "Bob"}\n</think>\n\n{"name": "Ada"}', ADA),
        ('<think>one</think><think>{"name": "Bob"}</think>```json\n{"name": "Ada"}\n```', ADA),
        (
            '<|channel|>analysis<|message|>{"a": 1}<|end|><|channel|>final<|message|>{"name": "Ada"}<|end|>',
            ADA,
        ),
        ('Sure!\n```json\n{"name": "Ada"}\n```\nAnything else?', ADA),
        ('```\n{"name": "Ada"}\n```', ADA),
        ('```json {"name": "Ada"}```', ADA),
        ('~~~json\n{"name": "Ada"}\n~~~', ADA),
        ('```JSON title="x.json"\n{"name": "Ada"}\n```', ADA),
        ('```json\n{"name": "Ada"}', ADA),
        ('```python\nx = {"name": "Bob"}\n```\n```json\n{"name": "Ada"}\n```', ADA),
        ('Use {name} or {"name": "Bob"}, I mean:\n```json\n{"name": "Ada"}\n```', ADA),
        ('The answer {as asked} is {"name": "Ada"}, {"name": "Bob"}', ADA),
        ('By \\frac{1}{2} and {{x}} it is {"name": "Ada"}.', ADA),
        ('As [1] says: {"name": "Ada"} [2]', ADA),
        ('People: [{"name": "Ada"}, {"name": "Bob"}]', [ADA, {"name": "Bob"}]),
        ("Take [1, 2] of them", [1, 2]),
        ('{"name": "Ada",}', ADA),
        ('It is {"a": [1, 2, ], "b": ", }",\n}', {"a": [1, 2], "b": ", }"}),
        ('{"text": "one\ntwo"}', {"text": "one\ntwo"}),
        ("{“name”: “Ada”}", ADA),
        ('{"code": "```js\\nf()\\n```"}', {"code": "```js\nf()\n```"}),
        ('Here:\n```json\n{"code": "```js\\n{}\\n```"}\n```', {"code": "```js\n{}\n```"}),
        ('{"a": "<think>no</think>"}', {"a": "<think>no</think>"}),
        ('<answer>{"name": "Ada"}</answer>', ADA),
        ("```json\n42\n```", 42),
        ("true", True),
    ],
)
def test_json_is_read_from_what_models_put_around_it(text: str, value: Any) -> None:
    assert json_in(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I can't do that {sorry}",
        '<think>{"name": "Ada"}',
        '<think>{"name": "Ada"}</think>I can not.',
        '<|channel|>analysis<|message|>{"name": "Ada"}',
        '{"name": "Ada", "inner": {"name": "Bob"}',
        '[{"name": "Ada"}, {"name": ',
        '{name: "Ada", inner: {"name": "Bob"}}',
        "{'name': 'Ada', 'inner': {\"name\": 1}}",
        '{"a": 1,,}',
        "[,]{,}",
        "null",
    ],
)
def test_nothing_is_made_up_or_torn_out_of_something_broken(text: str) -> None:
    assert json_in(text) in (None, [])


def test_readings_come_in_groups() -> None:
    assert readings('{"a": 1}') == [[{"a": 1}]]
    text = 'Not {"a": 1} but\n```json\n{"a": 2}\n{"a": 3}\n```\nor {"a": 4}'
    assert readings(text) == [[{"a": 2}, {"a": 3}], [{"a": 1}, {"a": 4}]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2]", [1, 2]),
        ('<think>no</think>{"name": "Ada"}', ADA),
        ('Here you are:\n{"name": "Ada"}\nGood luck', ADA),
        ('Here you are:\n  {\n "name": "Ada"\n}\n', ADA),
        ("```json\n[1]\n```", [1]),
        ('It is {"name": "Ada"} then', None),
        ("As he says [1]:\n[1]\n", None),
        ('{"name": "Ada"}\n\nor\n\n{"name": "Bob"}', None),
        ("42", None),
        ("no brackets", None),
    ],
)
def test_a_block_is_what_stands_apart_from_words(text: str, value: Any) -> None:
    assert block_in(text) == value


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("toys", "Toys"),
        (' "Toys". ', "Toys"),
        ("**Toys**", "Toys"),
        ("“animals”", "Animals"),
        ("Category: toys", "Toys"),
        ("**Label:** `Animals`.", "Animals"),
        ("The category is toys.", "Toys"),
        ("<think>Animals? No.</think>\ntoys", "Toys"),
        ("```\ntoys\n```", "Toys"),
        ("```text\ntoys\n```", "Toys"),
        ("Toys\n\nBecause a kite is one.", "Toys"),
        ("A kite is one.\n\nAnswer: Toys", "Toys"),
        ("c++", "C++"),
        ("not sure", None),
        ("Not sure.", "Not sure."),
        ("toys, I think", None),
        ("not toys", None),
        ("It is not a toy. Category: not toys", None),
        ("Toys\nAnimals", None),
        ("Toys or animals", None),
        ("", None),
    ],
)
def test_a_bare_label_counts_only_alone(text: str, label: str | None) -> None:
    assert label_in(text, LABELS) == label


def test_a_label_is_known_in_quotes_and_in_any_case() -> None:
    assert [label_for(word, LABELS) for word in (" TOYS ", '"toys"', "toys!", "toy")] == ["Toys"] * 3 + [None]


@given(json_values.filter(lambda value: isinstance(value, list | dict)), texts, texts)
def test_what_stands_in_a_fence_is_read_back(value: Any, before: str, after: str) -> None:
    before, after = (each.translate(dict.fromkeys(map(ord, '`~{["'))) for each in (before, after))
    text = f"{before}\n```json\n{json.dumps(value)}\n```\n{after}"
    assert block_in(text) == value


@given(st.text("{}[]\",:`~\\ \n\t'a1<think>/“”", max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    json_in(text)
    block_in(text)
    label_in(text, LABELS)
    assert len(without_thinking(text)) <= len(text)


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "[",
        '{"',
        '{"a":',
        "[1,",
        "```",
        "```json\n{",
        "<think>",
        "</think>",
        "{“",
        "{'",
        ", ",
        "[1] ",
        '{"a":1}',
        "```\n",
        '"',
        "\\",
        '{"\\',
        "<think ",
    ],
)
def test_hostile_texts_take_no_longer_than_they_are_long(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.process_time()
    json_in(text)
    block_in(text)
    assert time.process_time() - began < 5
