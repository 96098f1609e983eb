"""`lf-worker budgets`, and what status and doctor say of budgets."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from app.cli.doctor.command import examine
from app.cli.doctor.finding import Finding, Level
from app.cli.main import app
from app.local.seeds import seeded_id
from tests.sql import Connection, call

ADA, GRACE = (str(seeded_id("person", name)) for name in ("ada", "grace"))

runner = CliRunner(env={"COLUMNS": "200"})
pytestmark = pytest.mark.usefixtures("seeded")


def run(*arguments: str, code: int = 0) -> str:
    result = runner.invoke(app, [*arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def listed() -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("budgets", "list", "--json").splitlines()]


def hold(connection: Connection, owner: str = ADA, seconds: float = 60) -> str:
    """Hold 2,000 tokens at 5 USD the million, which are a cent, against an owner's budgets."""
    statement = (
        "SELECT verdict FROM worker.hold_budget(%s, %s, %s, false, 'openai', 'gpt-4o', 2000, 0, 0, 0, %s)"
    )
    return str(call(connection, statement, uuid4(), owner, uuid4(), seconds))


def the_finding() -> Finding:
    (found,) = (finding for finding in examine() if finding.area == "budgets")
    return found


def test_a_budget_that_is_set_holds_from_the_next_call_on_and_is_listed(connection: Connection) -> None:
    assert hold(connection) == "free"
    assert "0.025 USD (day)" in run("budgets", "set", ADA, "--limit-usd", "0.025", "--period", "day")
    assert [hold(connection), hold(connection), hold(connection)] == ["held", "held", "wait"]
    (row,) = listed()
    assert row.pop("resets_at").endswith("T00:00:00+00:00")
    assert row == {
        "owner": ADA,
        "period": "day",
        "limit_usd": 0.025,
        "includes_own_keys": False,
        "spent_usd": 0.0,
        "held_usd": 0.02,
        "left_usd": 0.005,
        "is_default": False,
    }
    assert "0.0250" in run("budgets", "list")


def test_a_budget_is_changed_by_setting_it_again_and_taken_away_by_period_or_whole(
    connection: Connection,
) -> None:
    for period in ("day", "month", "total"):
        run("budgets", "set", ADA, "--limit-usd", "1", "--period", period)
    run("budgets", "set", ADA, "--limit-usd", "7", "--period", "total", "--include-own-keys")
    run("budgets", "unset", ADA, "--period", "day")
    kept = {row["period"]: (row["limit_usd"], row["includes_own_keys"]) for row in listed()}
    assert kept == {"month": (1.0, False), "total": (7.0, True)}
    assert "2 budgets less" in run("budgets", "unset", ADA)
    assert "no such budget" in run("budgets", "unset", ADA, code=1)
    assert hold(connection) == "free"


def test_the_budget_for_everybody_else_is_listed_for_each_who_spends(connection: Connection) -> None:
    run("budgets", "set", "*", "--limit-usd", "1")
    hold(connection, "bob")
    assert [(row["owner"], row["is_default"], row["held_usd"]) for row in listed()] == [
        ("*", False, 0.0),
        ("bob", True, 0.01),
    ]
    assert "bob (*)" in run("budgets", "list")


@pytest.mark.parametrize("limit", ["-1", "nan", "inf", "1e400", "1e300", "much", ""])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    run("budgets", "set", ADA, f"--limit-usd={limit}", code=2)
    assert listed() == []


def test_a_budget_needs_a_limit() -> None:
    run("budgets", "set", ADA, code=2)
    assert listed() == []


@pytest.mark.parametrize("owner", ["ada", "", "**", ADA[:-1]])
def test_whoever_is_mistyped_gets_no_budget(owner: str) -> None:
    run("budgets", "set", owner, "--limit-usd", "1", code=2)
    run("budgets", "unset", owner, code=2)
    assert listed() == []


def test_an_owner_is_the_same_however_its_id_is_written(connection: Connection) -> None:
    assert f"{ADA} may spend 1234567.89 USD" in run(
        "budgets", "set", ADA.upper(), "--limit-usd", "1234567.89"
    )
    assert hold(connection) == "held"


def test_status_shows_who_has_nearly_spent_a_budget(connection: Connection) -> None:
    run("budgets", "set", ADA, "--limit-usd", "0.012")
    run("budgets", "set", GRACE, "--limit-usd", "0.013")
    hold(connection), hold(connection, GRACE)
    shown = json.loads(run("status", "--json"))["budgets"]
    assert [(row["owner"], row["held_usd"]) for row in shown] == [(ADA, 0.01)]
    assert "budget nearly spent" in run("status")


def test_doctor_names_calls_of_which_nobody_told_what_they_cost(connection: Connection) -> None:
    assert (the_finding().level, the_finding().what) == (Level.FINE, "none set")
    run("budgets", "set", ADA, "--limit-usd", "1")
    hold(connection)
    assert (the_finding().level, the_finding().what) == (Level.FINE, "1 set")
    hold(connection, seconds=-60)
    found = the_finding()
    assert found.level is Level.WARNING
    assert found.what.startswith(f"1 calls of {ADA}")
    assert "0.0100 USD" in found.what
    assert f"lf-worker budgets set {ADA}" in found.mend
