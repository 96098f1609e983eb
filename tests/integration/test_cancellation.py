"""`lf-worker jobs cancel`, on a job of every kind, waiting and at work."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.broker import LeaseBroker
from app.calls import Call
from app.claims import open_claim
from app.cli.main import app
from app.database import Database
from app.errors import RetryLater, SettingsError, StaleClaim
from app.local.platform import enqueue_lens_run
from app.local.provider_server import ProviderServer
from app.local.teams import enqueue_team_run, make_agent
from app.local.workflows import enqueue_workflow_run, make_workflow
from tests.integration.battle_rows import jobs_of, queue_battle, status_of
from tests.integration.conftest import running_worker
from tests.integration.webhooks.rows import add_row
from tests.integration.webhooks.rows import find as find_webhook
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    claim,
    hold_of,
    must_claim,
    node_statuses,
    rows,
    run_row,
    team_row,
)
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("seeded")


def cancel(job: UUID, *options: str) -> dict[str, Any]:
    command = ["jobs", "cancel", str(job), "--json", *options]
    return json.loads(CliRunner().invoke(app, command, catch_exceptions=False).output)


def queue_run(connection: Connection, model: str = "gpt-4o") -> UUID:
    return enqueue_lens_run(connection, model=model, inputs={"prompt": "hi"})


def lens_run(connection: Connection, run: UUID) -> dict[str, Any]:
    return rows(connection, "SELECT * FROM execution.runs WHERE id = %s", run)[0]


def waiting_messages(connection: Connection) -> int:
    return int(call(connection, "SELECT count(*) FROM dramatiq.queue WHERE state = 'queued'"))


@BOTH_PLATFORMS
def test_a_queued_lens_run_ends_at_once_and_is_never_claimed(
    connection: Connection, jobs_database: Database
) -> None:
    run = queue_run(connection)
    assert cancel(run) == {
        "job": str(run),
        "kind": "lens_run",
        "was": "queued",
        "refusal": None,
        "was_at_work": False,
    }
    row = lens_run(connection, run)
    assert (row["status"], row["error_code"], row["billing_status"]) == (
        "canceled",
        "worker.cancelled",
        "free",
    )
    assert row["completed_at"] is not None
    assert waiting_messages(connection) == 0
    assert open_claim(jobs_database, uuid4(), "lens_run", "box:1", hint=run, max_deaths=3)[1] is None


@BOTH_PLATFORMS
def test_what_a_worker_finds_out_of_a_cancelled_run_is_refused(
    connection: Connection, jobs_database: Database
) -> None:
    claimed = must_claim(jobs_database, "lens_run", hint=queue_run(connection))
    assert cancel(claimed.job_id)["was_at_work"]
    with pytest.raises(StaleClaim):
        claimed.finish(lambda tx: pytest.fail("the result was taken"))
    with pytest.raises(StaleClaim):
        claimed.release(RetryLater("provider.timeout", "slow"))
    assert lens_run(connection, claimed.job_id)["status"] == "canceled"
    story = rows(connection, "SELECT outcome, error_code FROM worker.claims WHERE job = %s", claimed.job_id)
    assert story == [{"outcome": "gone", "error_code": "worker.cancelled"}]
    assert call(connection, "SELECT count(*) FROM worker.dead_letters") == 0


def test_a_cancelled_run_has_its_cost_whenever_it_is_known(
    connection: Connection, jobs_database: Database
) -> None:
    claimed = must_claim(jobs_database, "lens_run", hint=queue_run(connection))
    asked = Call("openai", "gpt-4o", "answer", tokens_in=1_000, tokens_out=200)
    claimed.calls.append(asked)
    claimed.release(RetryLater("provider.unavailable", "the answer broke off"))
    again = claim(jobs_database, "lens_run", message=claimed.message_id)
    assert again is not None
    cancel(claimed.job_id)
    assert lens_run(connection, claimed.job_id)["cost_estimate"] == Decimal("0.008")
    again.calls.append(asked)
    with pytest.raises(StaleClaim):
        again.finish(lambda tx: pytest.fail("the result was taken"))
    row = lens_run(connection, claimed.job_id)
    assert (row["status"], row["cost_estimate"]) == ("canceled", Decimal("0.016"))


def test_a_run_that_waits_for_its_next_attempt_gets_none(
    connection: Connection, jobs_database: Database
) -> None:
    queue_run(connection)
    message = UUID(str(call(connection, "SELECT message_id FROM dramatiq.queue")))
    _, claimed = open_claim(jobs_database, message, "lens_run", "box:1", hint=None, max_deaths=3)
    assert claimed is not None
    claimed.release(RetryLater("provider.timeout", "slow"))
    assert not cancel(claimed.job_id)["was_at_work"]
    assert waiting_messages(connection) == 0


@BOTH_PLATFORMS
def test_a_battles_last_job_opens_voting_when_it_is_cancelled(
    connection: Connection, jobs_database: Database
) -> None:
    battle = queue_battle(connection)
    first, second = (job["id"] for job in jobs_of(connection, battle))
    claimed = must_claim(jobs_database, "battle_job", hint=first)
    assert cancel(first)["was"] == "claimed"
    assert status_of(connection, battle) == "executing"
    assert cancel(second)["was"] == "queued"
    assert status_of(connection, battle) == "voting"
    assert {job["status"] for job in jobs_of(connection, battle)} == {"failed"}
    with pytest.raises(StaleClaim):
        claimed.finish(lambda tx: pytest.fail("the result was taken"))


@BOTH_PLATFORMS
@pytest.mark.parametrize("is_claimed", [False, True], ids=["waiting", "at work"])
def test_a_workflow_run_ends_with_its_nodes_and_tells_of_it(
    is_claimed: bool, connection: Connection, jobs_database: Database
) -> None:
    run = enqueue_workflow_run(connection, make_workflow(connection).workflow_id)
    claimed = must_claim(jobs_database, "workflow_run", hint=run) if is_claimed else None
    assert cancel(run)["was_at_work"] is is_claimed
    row = run_row(connection, run)
    assert (row["status"], row["run_worker_id"]) == ("cancelled", None)
    assert set(node_statuses(connection, run).values()) <= {"cancelled"}
    told = rows(
        connection, "SELECT type FROM lenses.workflow_run_events WHERE run_id = %s ORDER BY event_id", run
    )
    assert [event["type"] for event in told] == ["run.cancelled", "run.status.changed"]
    if claimed is not None:
        assert hold_of(claimed).beat(jobs_database) == "stale"
        assert not hold_of(claimed).close_ended(jobs_database)


@BOTH_PLATFORMS
def test_a_team_run_is_cancelled_with_its_workflow_run(
    connection: Connection, jobs_database: Database
) -> None:
    team_run = enqueue_team_run(
        connection, make_agent(connection, "Nia"), workflow_id=make_workflow(connection).workflow_id
    )
    claimed = must_claim(jobs_database, "team_run", hint=team_run)
    workflow_run = UUID(claimed.job["workflow_run_id"])
    with pytest.raises(SettingsError, match=f"belongs to the team run {team_run}: cancel that"):
        cancel(workflow_run)
    assert cancel(team_run)["was_at_work"]
    assert team_row(connection, team_run)["status"] == "cancelled"
    assert run_row(connection, workflow_run)["status"] == "cancelled"


def test_a_webhook_is_not_sent_any_more(connection: Connection, jobs_database: Database) -> None:
    waiting, sending = (add_row(connection, f"https://{name}.example/") for name in ("a", "b"))
    claimed = must_claim(jobs_database, "webhook_delivery", hint=sending)
    assert cancel(waiting)["was"] == "waiting"
    assert (cancel(sending)["was"], claimed.job_id) == ("sending", sending)
    for webhook in (waiting, sending):
        row = find_webhook(connection, webhook)
        assert row["dead_lettered_at"] is not None
        assert row["last_error"].startswith("worker.cancelled")
    assert waiting_messages(connection) == 0


def test_a_medium_is_cancelled_with_the_job_that_wants_it(
    connection: Connection, jobs_database: Database
) -> None:
    run = must_claim(jobs_database, "lens_run", hint=queue_run(connection)).job_id
    task = call(
        connection,
        """
        INSERT INTO worker.media_tasks (
            owner_kind, job, provider, model, wire_model, modality, state, expires_at)
        VALUES ('lens_run', %s, 'openai', 'sora-2', 'sora-2', 'video', 'started', now() + interval '1 hour')
        RETURNING id
        """,
        run,
    )
    with pytest.raises(SettingsError, match=f"makes the medium of lens_run {run}: cancel that"):
        cancel(UUID(str(task)))
    cancel(run)
    assert call(connection, "SELECT state FROM worker.media_tasks") == "abandoned"


def test_what_has_ended_or_was_never_there_is_refused(
    connection: Connection, jobs_database: Database
) -> None:
    run = queue_run(connection)
    cancel(run)
    with pytest.raises(SettingsError, match="is canceled and can't be cancelled: the run has ended"):
        cancel(run)
    with pytest.raises(SettingsError, match="there is no job"):
        cancel(uuid4())
    assert call(connection, "SELECT count(*) FROM worker.audit_log") == 1


def test_who_cancelled_what_and_why_is_kept(connection: Connection) -> None:
    run = queue_run(connection)
    cancel(run, "--note", "asked for by its owner")
    kept = rows(connection, "SELECT action, kind, job, note, operator <> '' AS known FROM worker.audit_log")
    assert kept == [
        {"action": "cancel", "kind": "lens_run", "job": run, "note": "asked for by its owner", "known": True}
    ]


@pytest.mark.environment(WORKER_HEARTBEAT_INTERVAL_MS="50")
def test_a_worker_breaks_off_the_call_of_a_cancelled_run_and_goes_on(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection
) -> None:
    provider.script("gpt-4o", ["hang"])
    with running_worker(broker, "actors.lens_runs", threads=1):
        hanging = queue_run(connection)
        provider.wait_for_calls(1)
        assert cancel(hanging)["was_at_work"]
        following = queue_run(connection, "gpt-5.4")
        eventually(
            lambda: lens_run(connection, following)["status"] == "succeeded",
            what="the only thread's next run",
        )
    assert lens_run(connection, hanging)["status"] == "canceled"
    assert len(provider.calls) == 2
    assert call(connection, "SELECT count(*) FROM worker.provider_calls") == 1
