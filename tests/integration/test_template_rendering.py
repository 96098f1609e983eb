"""Our statement of the token rules against the platform's own function, in Postgres."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.templates import render_tokens, values_are_inert
from app.templates.values import jsonb_order, text_of
from tests.sql import call

RENDER_BODY = "SELECT public.fn_worker_render_template(p_template_body => %s, p_inputs => %s::jsonb)"

# The connection only reads, so that examples may share it.
many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6)
data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
brackets = st.lists(
    st.sampled_from(["[", "[[", "]]", "]", "a", "b", "[[a]]", "[[b]]", "[[é]]", "[[]]", " "]), max_size=8
).map("".join)
keys = st.sampled_from(["", "a", "b", "ab", "é", "zz", "[a", "a]"])


@many
@given(value=data)
def test_values_have_the_text_that_postgres_gives_them(connection: Connection, value: Any) -> None:
    assert text_of(value) == call(connection, RENDER_BODY, "[[v]]", json.dumps({"v": value}))


@many
@given(body=brackets, inputs=st.dictionaries(keys, brackets | st.none() | st.integers(), max_size=4))
def test_inert_values_are_rendered_alike(connection: Connection, body: str, inputs: dict[str, Any]) -> None:
    rendered = call(connection, RENDER_BODY, body, json.dumps(inputs))
    in_turn = body
    for key in sorted(inputs, key=jsonb_order):
        in_turn = in_turn.replace(f"[[{key}]]", text_of(inputs[key]))
    assert rendered == in_turn
    if values_are_inert(body, inputs):
        assert rendered == render_tokens(body, inputs)


@pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
def test_a_value_that_is_not_inert_is_evaluated_by_postgres_and_not_by_us(connection: Connection) -> None:
    body, inputs = "[[a]]", {"a": "[[b]]", "b": "evaluated"}
    assert call(connection, RENDER_BODY, body, json.dumps(inputs)) == "evaluated"
    assert not values_are_inert(body, inputs)
    assert render_tokens(body, inputs) == "[[b]]"
