"""`lf-worker queues`, as a person uses it."""

from __future__ import annotations

import json

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner, Result

from app.cli.queues import app
from app.errors import SettingsError
from app.local.platform import Seeded, enqueue_lens_runs
from tests.sql import call


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_list_shows_what_waits(connection: Connection, seeded: Seeded) -> None:
    enqueue_lens_runs(connection, 3, model="gpt-4o", inputs={"prompt": "hi"})
    rows = [json.loads(line) for line in run("list", "--json").output.splitlines()]
    (lens_runs,) = (row for row in rows if row["queue_name"] == "lens_runs")
    assert (lens_runs["waiting"], lens_runs["in_flight"], lens_runs["paused"]) == (3, 0, False)
    assert lens_runs["oldest_waiting_seconds"] >= 0
    assert "lens_runs" in run("list").output


def test_a_queue_is_paused_resumed_and_capped(connection: Connection, seeded: Seeded) -> None:
    control = "SELECT paused, max_in_flight FROM worker.queue_controls WHERE queue_name = 'lens_runs'"
    assert run("pause", "lens_runs").output == "lens_runs: paused\n"
    assert call(connection, control) is True
    assert run("resume", "lens_runs").output == "lens_runs: open\n"
    assert run("cap", "lens_runs", "7").output == "lens_runs: at most 7 in flight\n"
    assert call(connection, "SELECT max_in_flight FROM worker.queue_controls") == 7
    assert run("cap", "lens_runs", "0").output == "lens_runs: open\n"


def test_a_queue_that_is_not_there_is_said_with_those_that_are(dsn: str) -> None:
    refused = run("pause", "lens_rums").exception
    assert isinstance(refused, SettingsError)
    assert "choose one of" in str(refused)
    assert "lens_runs" in str(refused)


def test_a_database_without_our_schema_is_said(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_dsn)
    refused = run("list").exception
    assert "migrate" in str(refused)
