"""Attempts at a shared task: taken up again, overtaken, stopped, out of room or time, and replayed."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.errors import RetryLater, StaleClaim
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.teams import SeededTeam
from tests.integration.teams.rows import ended, speakers, steps
from tests.integration.teams.tasks import ACCEPT, REJECT, do, start
from tests.integration.workflow_rows import claim, must_claim, rows, team_row, tickets, update
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("provider")


@pytest.fixture
def held_run(connection: Connection, provider: ProviderServer, worker: None, team: SeededTeam) -> UUID:
    """A run whose first turn waits for its model until the provider is released."""
    provider.hold()
    team_run = start(connection, team)
    provider.wait_for_calls(1)
    return team_run


def test_the_next_attempt_goes_on_after_the_last_finished_turn(
    database: Database, connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.script("claude-sonnet-4-6", ["ok", "ok", "503", "ok"])
    start(connection, team)
    older = must_claim(database, "team_run")
    with pytest.raises(RetryLater, match=r"provider\."):
        do(database, older)
    newer = claim(database, "team_run", message=older.message_id)
    assert newer is not None
    ending = do(database, newer)
    assert ending is not None
    assert ending.status == "completed"
    assert speakers(provider) == ["Lena", "Emil", "Rosa", "Rosa"]


#: Ends the session at its second commit of a call.
BREAK_A_COMMIT = """
    CREATE SEQUENCE public.commits;
    CREATE FUNCTION public.break_a_commit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('public.commits') = 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER break_a_commit AFTER INSERT ON worker.provider_calls
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.break_a_commit()
"""


def test_a_call_is_written_down_though_the_commit_of_its_turn_breaks(
    database: Database, connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.say("claude-sonnet-4-6", "Emil shall do it.", "The sea is wide.", ACCEPT)
    connection.cursor().execute(BREAK_A_COMMIT)
    start(connection, team)
    ending = do(database, must_claim(database, "team_run"))
    assert ending is not None
    assert ending.status == "completed"
    assert len(provider.calls) == call(connection, "SELECT count(*) FROM worker.provider_calls") == 3


def test_an_attempt_that_was_overtaken_writes_nothing_more(
    database: Database, connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    team_run = start(connection, team)
    older = must_claim(database, "team_run")
    assert claim(database, "team_run", message=older.message_id) is not None
    with pytest.raises(StaleClaim):
        do(database, older)
    assert steps(connection, team_run) == []


def test_a_cancelled_run_stops_within_a_heartbeat_and_stays_cancelled(
    connection: Connection, provider: ProviderServer, team: SeededTeam, seeded: Seeded, held_run: UUID
) -> None:
    with connection:
        call(connection, "SELECT set_config('request.jwt.claim.sub', %s, true)", str(seeded.users["ada"]))
        call(connection, "SELECT public.fn_cancel_run(%s)", held_run)
    finished = "SELECT count(*) FROM worker.claims WHERE outcome = 'gone'"
    eventually(lambda: call(connection, finished) == 1, what="the end of the claim")
    provider.release()
    assert steps(connection, held_run) == [("Plan", "Lena", "skipped")]
    assert team_row(connection, held_run)["status"] == "cancelled"
    bought = "SELECT count(*) FROM worker.provider_calls WHERE job = %s AND tokens_out > 0"
    eventually(lambda: call(connection, bought, held_run) == 1, what="the late call")


def test_a_kill_switch_ends_a_run_as_cancelled(
    connection: Connection, provider: ProviderServer, team: SeededTeam, seeded: Seeded, held_run: UUID
) -> None:
    rows(
        connection,
        "INSERT INTO admin.kill_switches (scope, target_id, operator_id, reason)"
        " VALUES ('agent', %s, %s, 'test')",
        team.lead_id,
        seeded.people["ada"],
    )
    row = ended(connection, held_run)
    assert (row["status"], row["metadata"]["error"]) == ("cancelled", "kill_switch")
    provider.release()


def test_a_run_says_that_it_is_alive(
    connection: Connection, provider: ProviderServer, held_run: UUID
) -> None:
    before = team_row(connection, held_run)["updated_at"]
    eventually(lambda: team_row(connection, held_run)["updated_at"] > before, what="a heartbeat")
    assert team_row(connection, held_run)["status"] == "running"
    provider.release()
    assert ended(connection, held_run)["status"] == "completed"


@pytest.mark.usefixtures("worker")
def test_the_platforms_limit_on_messages_fails_the_run(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    team_run = start(connection, team, status="blocked")
    rows(
        connection,
        "INSERT INTO agents.team_messages (team_run_id, from_agent_id, kind)"
        " SELECT %s, %s, 'info' FROM generate_series(1, 1000)",
        team_run,
        team.lead_id,
    )
    update(connection, "agents.team_runs", team_run, status="queued")
    eventually(lambda: team_row(connection, team_run)["status"] == "failed", what="the end")
    assert team_row(connection, team_run)["metadata"]["error"].startswith("team.too_many_messages")


@pytest.mark.usefixtures("worker")
def test_a_full_scratchpad_fails_the_run(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    row = ended(connection, start(connection, team, shared_scratchpad={"log": "x" * 262_100}))
    assert row["metadata"]["error"].startswith("team.scratchpad_full")
    assert row["shared_scratchpad_version"] == 0
    assert call(connection, "SELECT count(*) FROM worker.provider_calls") == len(provider.calls) == 1


@pytest.mark.usefixtures("worker")
def test_a_run_that_takes_too_long_fails(
    connection: Connection, provider: ProviderServer, team: SeededTeam, configure: Callable[..., None]
) -> None:
    configure(WORKER_TEAM_RUN_TIMEOUT_MS="300")
    provider.hold()
    row = ended(connection, start(connection, team))
    assert row["metadata"]["error"] == "team.timed_out: the run took longer than 300 ms"
    # The member's thread goes on: it must not ask the next test's provider.
    provider.wait_for_calls(1)
    provider.release()
    provider.wait_until_idle()


def test_the_run_that_waited_for_its_agents_limit_begins_when_another_is_blocked(
    connection: Connection, provider: ProviderServer, jobs_database: Database, team: SeededTeam
) -> None:
    rows(
        connection,
        "INSERT INTO agents.workspace_settings (ai_lenser_id, max_parallel_runs) VALUES (%s, 1)",
        team.lead_id,
    )
    first, second = start(connection, team), start(connection, team)
    must_claim(jobs_database, "team_run", hint=first)
    rows(connection, "DELETE FROM dramatiq.queue")
    assert claim(jobs_database, "team_run") is None
    call(connection, "SELECT worker.block_team_run(%s, 'Review, round 1', 'why')", first)
    rows(connection, "UPDATE worker.claims SET state = 'finished', finished_at = now(), outcome = 'blocked'")
    assert tickets(connection, "execute_team_run") == 1
    assert must_claim(jobs_database, "team_run").job_id == second


@pytest.mark.usefixtures("worker")
def test_a_replayed_run_goes_on_after_its_finished_turns(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.script("claude-sonnet-4-6", ["ok", "401"])
    team_run = start(connection, team)
    assert ended(connection, team_run)["status"] == "failed"
    assert replay(connection)
    eventually(lambda: team_row(connection, team_run)["status"] == "completed", what="the end")
    assert speakers(provider) == ["Lena", "Emil", "Emil", "Rosa"]


@pytest.mark.usefixtures("worker")
def test_a_replay_of_rejected_work_begins_after_the_plan(
    connection: Connection, provider: ProviderServer, team: SeededTeam
) -> None:
    provider.say("claude-sonnet-4-6", "Plan", *["The sea.", REJECT] * 3, "The sea has waves.", ACCEPT)
    team_run = start(connection, team)
    assert ended(connection, team_run)["status"] == "failed"
    assert replay(connection)
    eventually(lambda: team_row(connection, team_run)["status"] == "completed", what="the end")
    assert team_row(connection, team_run)["metadata"]["result"]["rounds"] == 1
    assert speakers(provider)[-2:] == ["Emil", "Rosa"]


def replay(connection: Connection) -> bool:
    statement = "SELECT worker.replay_dead_letter(message_id, 0, 'tester', 'again') FROM worker.claims"
    return bool(call(connection, statement))


def test_a_turn_that_was_paid_for_is_kept_through_a_short_outage(
    connection: Connection, provider: ProviderServer, held_run: UUID
) -> None:
    call(
        connection,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'lf-worker jobs'",
    )
    provider.release()
    assert ended(connection, held_run)["status"] == "completed"
    assert speakers(provider) == ["Lena", "Emil", "Rosa"]
