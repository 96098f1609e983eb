"""`lf-worker limits`: what it shows and changes."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import Json
from typer.testing import CliRunner

from app.cli.main import app
from tests.sql import call

runner = CliRunner(env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def database(dsn: str, connection: Connection) -> None:
    """A migrated database that DATABASE_URL names."""


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, ["limits", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def take(connection: Connection) -> int:
    statement = "SELECT worker.take_passage(%s, 'openai', 'gpt-4o', 'platform', 'ada', 60)"
    return int(call(connection, statement, uuid4()))


def test_a_limit_that_is_set_holds_from_the_next_call_on_and_is_listed(connection: Connection) -> None:
    run("set", "OpenAI/gpt-4o", "--concurrency", "1")
    assert take(connection) == 0
    assert take(connection) > 0
    (listed,) = (json.loads(line) for line in run("list", "--json").splitlines())
    assert listed == {
        "provider": "openai",
        "model": "gpt-4o",
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "concurrency": 1,
        "source": "operator",
        "under_way": 1,
        "waiting": 1,
    }
    assert "gpt-4o" in run("list")


def test_a_limit_that_is_taken_away_holds_no_more(connection: Connection) -> None:
    run("set", "openai", "--requests-per-minute", "1")
    run("unset", "openai")
    assert [take(connection), take(connection)] == [0, 0]
    assert "no limit" in run("unset", "openai", code=1)


def test_what_a_person_set_wins_over_the_settings(connection: Connection) -> None:
    run("set", "openai", "--concurrency", "3")
    call(connection, "SELECT worker.set_limits(%s)::text", Json([{"provider": "openai", "model": "*"}]))
    assert json.loads(run("list", "--json"))["concurrency"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        "openai",
        "/gpt-4o --concurrency 1",
        "openai --requests-per-minute inf",
        "openai --requests-per-minute nan",
        "openai --tokens-per-minute 1e400",
        "openai --tokens-per-minute 0",
        "openai --concurrency 99999999999",
    ],
)
def test_a_limit_that_is_none_is_refused(arguments: str) -> None:
    run("set", *arguments.split(), code=2)
    assert run("list", "--json") == ""


def test_an_owners_weight_is_kept(connection: Connection) -> None:
    owner = uuid4()
    run("weigh", str(owner).upper(), "2.5")
    assert call(connection, "SELECT worker.fn_owner_weight(%s)", str(owner)) == 2.5


@pytest.mark.parametrize("weight", ["inf", "nan", "1e400", "0", "heavy"])
def test_a_weight_that_is_none_is_refused(connection: Connection, weight: str) -> None:
    run("weigh", str(uuid4()), weight, code=2)
    assert call(connection, "SELECT count(*) FROM worker.owner_weights") == 0


def test_whoever_is_mistyped_gets_no_weight(connection: Connection) -> None:
    run("weigh", "ada", "2", code=2)
    assert call(connection, "SELECT count(*) FROM worker.owner_weights") == 0
