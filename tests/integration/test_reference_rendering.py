import json
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.errorcodes import CHECK_VIOLATION, INVALID_PARAMETER_VALUE, NO_DATA_FOUND
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded
from app.local.seeds import LENSES
from tests.sql import call, sqlstate_of

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])


RENDER_BODY = "SELECT public.fn_worker_render_template(p_template_body => %s, p_inputs => %s::jsonb)"
RENDER_VERSION = "SELECT public.fn_worker_render_template(p_version_id => %s, p_inputs => %s::jsonb)"
UNTOUCHED = "[[ name ]] [[Name]] [[name|upcase]] {{name}} [[:x]]"


@BOTH_PLATFORMS
@pytest.mark.parametrize(
    ("body", "inputs", "rendered"),
    [
        ("Hi [[name]]", {"name": "Bob"}, "Hi Bob"),
        (UNTOUCHED, {"name": "Bob"}, UNTOUCHED),
        ("[[missing]]", {}, "[[missing]]"),
        (
            "[[n]] [[b]] [[nul]] [[obj]] [[arr]]",
            {"n": 3, "b": True, "nul": None, "obj": {"a": 1}, "arr": [1, "x"]},
            '3 true  {"a": 1} [1, "x"]',
        ),
        ("[[obj.a]]", {"obj": {"a": 1}}, "[[obj.a]]"),
        ("[[obj.a]]", {"obj.a": "dotted"}, "dotted"),
        ("[[a]] [[b]]", {"a": "[[b]]", "b": "[[a]]"}, "[[a]] [[a]]"),
        ("[[bb]]", {"bb": "[[ddd]]", "ddd": "D"}, "D"),
        ("[[bb]]", {"bb": "[[c]]", "c": "C"}, "[[c]]"),
        ("x[[]]y", {"": "E"}, "xEy"),
        (None, {"a": 1}, ""),
        ("[[a]]", None, "[[a]]"),
    ],
)
def test_a_body_is_rendered_by_literal_replacement(
    connection: Connection, body: str | None, inputs: dict[str, Any] | None, rendered: str
) -> None:
    given = None if inputs is None else json.dumps(inputs)
    assert call(connection, RENDER_BODY, body, given) == rendered


@pytest.mark.parametrize("inputs", ['["a"]', "3", '"a"'])
def test_inputs_that_are_no_object_are_refused(connection: Connection, inputs: str) -> None:
    assert sqlstate_of(connection, RENDER_BODY, "[[a]]", inputs) == INVALID_PARAMETER_VALUE


@pytest.mark.parametrize(
    ("inputs", "rendered"),
    [
        ({"name": " Bob ", "language": "Dutch", "tone": "dry"}, "Greet Bob in Dutch. Tone: dry."),
        ({"name": "Bob", "language": "Dutch", "tone": "  "}, "Greet Bob in Dutch. Tone: ."),
        ({"name": 7, "language": "[[tone]]", "other": "x"}, "Greet 7 in . Tone: ."),
    ],
)
def test_a_version_is_rendered_by_its_declared_parameters(
    connection: Connection, seeded: Seeded, inputs: dict[str, Any], rendered: str
) -> None:
    version = seeded.versions["greeting/2"]
    assert call(connection, RENDER_VERSION, version, json.dumps(inputs)) == rendered


def test_undeclared_tokens_and_inexact_ones_stay(connection: Connection, seeded: Seeded) -> None:
    body = "[[name]] [[other]] [[ name ]] [[Name]] [[!name]] and no more"
    version = seeded.versions["greeting/1"]
    call(connection, "UPDATE lenses.versions SET template_body = %s WHERE id = %s RETURNING 1", body, version)
    given = json.dumps({"name": "Bob", "other": "x", "Name": "y"})
    rendered = "Bob [[other]] [[ name ]] [[Name]] [[!name]] and no more"
    assert call(connection, RENDER_VERSION, version, given) == rendered


def test_a_required_tool_wants_a_value_even_of_an_optional_parameter(
    connection: Connection, seeded: Seeded
) -> None:
    version = seeded.versions["greeting/1"]
    statement = "UPDATE lenses.version_parameters SET optional = true WHERE version_id = %s RETURNING 1"
    call(connection, statement, version)
    with pytest.raises(psycopg2.Error, match="Required parameter 'name' is missing or empty") as raised:
        call(connection, RENDER_VERSION, version, '{"name": " "}')
    assert raised.value.pgcode == CHECK_VIOLATION
    call(connection, "SELECT lenses.fn_validate_inputs(%s, '{}')", version)


def test_an_unknown_version_cannot_be_rendered(connection: Connection, seeded: Seeded) -> None:
    assert sqlstate_of(connection, RENDER_VERSION, uuid4(), "{}") == NO_DATA_FOUND


def test_the_body_of_a_lens_is_its_newest_published_one(connection: Connection, seeded: Seeded) -> None:
    lens, bodies = seeded.lenses["greeting"], [version.body for version in LENSES["greeting"]]
    body = "SELECT public.fn_worker_get_lens_template_body(%s, %s)"
    assert call(connection, body, lens, None) == bodies[1]
    assert call(connection, body, lens, seeded.versions["greeting/1"]) == bodies[0]
    assert call(connection, body, lens, seeded.versions["summary/1"]) is None
    call(connection, "UPDATE lenses.versions SET status = 'draft' WHERE lens_id = %s RETURNING 1", lens)
    assert call(connection, body, lens, None) == bodies[2]
    assert call(connection, body, uuid4(), None) is None
