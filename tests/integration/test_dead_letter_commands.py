"""`lf-worker dead-letters`, on runs that failed for good."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.claims import open_claim
from app.cli.dead_letters import app
from app.cli.jobs import app as jobs
from app.database import Database
from app.errors import GiveUp, SettingsError
from app.local.platform import Seeded, enqueue_lens_runs
from app.local.teams import enqueue_team_run, make_agent
from app.local.workflows import enqueue_workflow_run, make_workflow
from app.platform.lens_runs import fail_run
from app.platform.workflows import fail_run as fail_workflow_run
from tests.sql import call

QUEUED = "SELECT count(*) FROM execution.runs WHERE status = 'queued'"


def run(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"}).output


@pytest.fixture
def failed(jobs_database: Database, connection: Connection, seeded: Seeded) -> Connection:
    """Three dead letters for a revoked key, and two for a wrong one."""
    enqueue_lens_runs(connection, 5, model="gpt-4o", inputs={"prompt": "hi"})
    connection.cursor().execute("DELETE FROM dramatiq.queue WHERE queue_name = 'lens_runs'")
    for code in ["key.revoked"] * 3 + ["provider.auth_failed"] * 2:
        error = GiveUp(code, "it failed")
        _, claim = open_claim(jobs_database, uuid4(), "lens_run", "box:1", hint=None, max_deaths=3)
        assert claim is not None
        claim.finish(
            lambda tx, claim=claim, error=error: fail_run(tx, claim.job_id, error),
            outcome="failed",
            error=error,
        )
    return connection


def test_dead_letters_are_listed_by_filter(failed: Connection) -> None:
    listed = [json.loads(line) for line in run("list", "--code", "key.revoked", "--json").splitlines()]
    assert [letter["error_code"] for letter in listed] == ["key.revoked"] * 3
    assert "provider.auth_failed" in run("list")
    assert "No dead letters" in run("list", "--kind", "battle_job")


def test_a_replay_queues_the_jobs_again_and_is_recorded(failed: Connection) -> None:
    assert run("replay", "--code", "key.revoked", "--note", "key is back", "--spread", "10") == "3 replayed\n"
    assert call(failed, QUEUED) == 3
    assert call(failed, "SELECT count(*) FROM worker.dead_letters") == 2
    with failed.cursor() as row:
        row.execute("SELECT action, error_code, note FROM worker.audit_log")
        assert row.fetchall() == [("replay", "key.revoked", "key is back")] * 3
        row.execute("SELECT round(extract(epoch FROM mtime - now())) FROM dramatiq.queue ORDER BY mtime")
        assert [float(due) for (due,) in row.fetchall()] == pytest.approx([0, 5, 10], abs=1.5)


def test_a_replayed_job_has_its_attempts_back(failed: Connection, jobs_database: Database) -> None:
    run("replay", "--kind", "lens_run")
    _, claim = open_claim(jobs_database, uuid4(), "lens_run", "box:1", hint=None, max_deaths=3)
    assert claim is not None
    assert (claim.attempt, claim.errors) == (1, 0)


def test_a_job_that_was_taken_up_since_is_not_replayed(failed: Connection) -> None:
    failed.cursor().execute("UPDATE execution.runs SET status = 'succeeded' WHERE error_code = 'key.revoked'")
    assert run("replay", "--code", "key.revoked").startswith("0 replayed, 3 could not be")
    assert call(failed, "SELECT count(*) FROM worker.dead_letters") == 5


def test_discarded_letters_are_off_the_list_and_their_jobs_stay_failed(failed: Connection) -> None:
    assert run("discard", "--hours", "1", "--limit", "4") == "4 discarded\n"
    assert call(failed, "SELECT count(*) FROM worker.dead_letters") == 1
    assert call(failed, "SELECT count(*) FROM execution.runs WHERE status = 'failed'") == 5


@pytest.mark.parametrize(
    "arguments", ["--spread inf", "--spread nan", "--spread 1e400", "--hours nan", "--hours 1e300"]
)
def test_a_time_that_is_none_is_refused(failed: Connection, arguments: str) -> None:
    invoked = ["replay", "--kind", "lens_run", *arguments.split()]
    assert CliRunner().invoke(app, invoked, catch_exceptions=False).exit_code == 2
    assert call(failed, QUEUED) == 0


def test_words_that_look_like_markup_are_printed_as_they_are(
    failed: Connection, jobs_database: Database
) -> None:
    words = "it can't be read [/red] [b]:cat:"
    enqueue_lens_runs(failed, 1, model="gpt-4o", inputs={"prompt": "hi"})
    _, claim = open_claim(jobs_database, uuid4(), "lens_run", "[/box]:1", hint=None, max_deaths=3)
    assert claim is not None
    claim.finish(outcome="failed", error=GiveUp("provider.bad", words))
    assert words in run("list")
    shown = CliRunner().invoke(jobs, ["show", str(claim.job_id)], catch_exceptions=False).output
    assert words in shown
    assert "[/box]:1" in shown


def test_a_dry_run_changes_nothing(failed: Connection) -> None:
    assert run("replay", "--kind", "lens_run", "--dry-run") == "5 dead letters would be replayed\n"
    assert run("discard", "--kind", "lens_run", "--dry-run") == "5 dead letters would be discarded\n"
    assert call(failed, "SELECT count(*) FROM worker.dead_letters") == 5
    assert call(failed, QUEUED) == 0


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_everything_at_once_is_not_done_by_accident(command: str, failed: Connection) -> None:
    with pytest.raises(SettingsError, match="say which ones"):
        run(command)


def test_a_workflow_run_is_asked_for_again_but_not_the_one_of_a_team(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    own = enqueue_workflow_run(connection, workflow.workflow_id)
    teams = enqueue_workflow_run(connection, workflow.workflow_id)
    for run_id in (own, teams):
        _, claim = open_claim(jobs_database, uuid4(), "workflow_run", "box:1", hint=run_id, max_deaths=3)
        assert claim is not None
        error = GiveUp("workflow.node_failed", "it failed")
        claim.finish(
            lambda tx, claim=claim, error=error: fail_workflow_run(tx, claim.job_id, error),
            outcome="failed",
            error=error,
        )
    agent = make_agent(connection, "Solo")
    team_run = enqueue_team_run(connection, agent, workflow_id=workflow.workflow_id, workflow_run_id=teams)
    connection.cursor().execute("UPDATE agents.team_runs SET status = 'failed' WHERE id = %s", (team_run,))
    assert run("replay", "--kind", "workflow_run").startswith("1 replayed, 1 could not be")
    status = "SELECT status FROM lenses.workflow_runs WHERE id = %s"
    assert (call(connection, status, own), call(connection, status, teams)) == ("queued", "failed")
