"""`lf-worker doctor` names what was broken on purpose, and the command that mends it."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, tzinfo

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.broker import LeaseBroker
from app.cli.doctor import command
from app.cli.doctor import connection as connection_checks
from app.cli.doctor.command import examine
from app.cli.doctor.finding import Finding, Level
from app.cli.doctor.plans.check import check_platform_code, check_statements
from app.cli.doctor.plans.values import check_values
from app.cli.main import app
from app.errors import DatabaseError
from app.local.platform import enqueue_lens_run
from app.migrations import migrate, restore_triggers
from tests.databases import PROFILES
from tests.doubles.poolers import deaf_proxy, session_pooler
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture(autouse=True)
def quickly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements are not planned where a test is about something else: that takes a second or two."""
    if "thorough" not in request.fixturenames:
        slow = {check_statements, check_platform_code, check_values}
        monkeypatch.setattr(command, "THEN", tuple(check for check in command.THEN if check not in slow))


@pytest.fixture
def thorough() -> None:
    """Every check is made."""


def found(area: str) -> list[Finding]:
    return [finding for finding in examine() if finding.area == area]


def the_broken(area: str) -> Finding:
    (finding,) = [finding for finding in found(area) if finding.level is not Level.FINE]
    assert finding.why
    assert finding.mend
    return finding


def tick(connection: Connection) -> None:
    call(connection, "SELECT worker.begin_tick('add_missing_tickets', now(), gen_random_uuid())")


@pytest.mark.usefixtures("thorough")
def test_a_database_with_workers_and_a_scheduler_is_fine(
    broker: LeaseBroker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GOOGLE_AI", "GOOGLE_VERTEX", "MISTRAL", "DEEPSEEK"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-planted-0123456789")
    connection.cursor().execute(
        "UPDATE lenses.versions SET status = 'draft' WHERE template_body LIKE '{%% if name %%}%%'"
    )
    tick(connection)
    with running_worker(broker):
        eventually(lambda: call(connection, "SELECT count(*) FROM worker.processes") == 1, what="a lease")
        worse = [finding for finding in examine() if finding.level is not Level.FINE]
    assert worse == []


def test_without_workers_and_scheduler_both_are_named() -> None:
    assert "lf-worker run worker" in the_broken("workers").mend
    assert "periodiq app.schedules" in the_broken("scheduler").mend


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER lf_worker_ticket_inserted_runs ON execution.runs",
        "ALTER TABLE execution.runs DISABLE TRIGGER lf_worker_ticket_inserted_runs",
    ],
    ids=["dropped", "disabled"],
)
def test_a_lost_trigger_is_named_and_restored(statement: str, dsn: str, connection: Connection) -> None:
    connection.cursor().execute(statement)
    broken = the_broken("triggers")
    assert "lf_worker_ticket_inserted_runs" in broken.what
    assert broken.mend == "lf-worker migrate"
    assert restore_triggers(dsn) == ["lf_worker_ticket_inserted_runs on execution.runs"]
    assert [finding.level for finding in found("triggers")] == [Level.FINE]
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    assert call(connection, "SELECT count(*) FROM dramatiq.queue") == 1


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DROP FUNCTION public.fn_worker_upsert_heartbeat", "fn_worker_upsert_heartbeat is missing"),
        (
            "ALTER FUNCTION public.fn_worker_decrypt_api_key(uuid) RENAME TO fn_gone",
            "fn_worker_decrypt_api_key is missing",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION public.fn_worker_decrypt_api_key(uuid)"
            " FROM PUBLIC, anon, authenticated, service_role, CURRENT_USER",
            "fn_worker_decrypt_api_key may not be executed",
        ),
        (
            "DROP FUNCTION public.fn_worker_upsert_heartbeat; CREATE FUNCTION"
            " public.fn_worker_upsert_heartbeat(p_worker_id text) RETURNS void LANGUAGE sql AS ''",
            "fn_worker_upsert_heartbeat has other arguments than the worker passes:"
            " fn_worker_upsert_heartbeat(…, …, …)",
        ),
        (
            "ALTER TABLE platform.api_worker_heartbeats DROP COLUMN metadata",
            'public.fn_worker_upsert_heartbeat can\'t run: column "metadata" of relation'
            ' "api_worker_heartbeats" does not exist',
        ),
    ],
    ids=["dropped", "renamed", "revoked", "changed", "broken inside"],
)
@pytest.mark.parametrize("platform_profile", ["owner"])
def test_a_function_that_can_not_be_called_is_named(
    statement: str, what: str, connection: Connection
) -> None:
    connection.cursor().execute(statement)
    assert the_broken("functions").what == what


@pytest.mark.parametrize("platform_profile", PROFILES)
def test_functions_are_tried_without_a_trace(connection: Connection) -> None:
    run_id = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    (finding,) = found("functions")
    assert finding.level is Level.FINE
    assert "tried" in finding.what
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run_id) == "queued"


def test_replaced_functions_are_listed_with_the_reason() -> None:
    listed = {finding.what.partition(" ")[0]: finding.what for finding in found("shadows")}
    assert "enum column" in listed["fn_worker_upsert_battle_submission"]
    assert len(listed) >= 8


@pytest.mark.parametrize("platform_profile", ["owner"])
def test_a_revoked_right_to_a_table_is_named(connection: Connection) -> None:
    assert [finding.level for finding in found("tables")] == [Level.FINE]
    connection.cursor().execute("REVOKE INSERT, UPDATE ON lenses.workflow_node_results FROM CURRENT_USER")
    broken = the_broken("tables")
    assert broken.what == "no right to INSERT, UPDATE on lenses.workflow_node_results"
    connection.cursor().execute(broken.mend)
    assert [finding.level for finding in found("tables")] == [Level.FINE]


def test_a_table_that_is_not_published_is_named(connection: Connection) -> None:
    connection.cursor().execute("ALTER PUBLICATION supabase_realtime DROP TABLE battles.vote_aggregates")
    broken = the_broken("publication")
    assert "battles.vote_aggregates" in broken.what
    connection.cursor().execute(broken.mend)
    assert [finding.level for finding in found("publication")] == [Level.FINE]


def test_a_pooler_in_transaction_mode_is_named(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with deaf_proxy(dsn) as deaf_dsn:
        monkeypatch.setenv("DATABASE_URL", deaf_dsn)
        assert "session mode" in the_broken("connection").mend


def test_a_direct_connection_and_a_pooler_in_session_mode_are_told_apart(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [finding.what for finding in found("connection")] == ["direct"]
    with session_pooler(dsn) as pooled_dsn:
        monkeypatch.setenv("DATABASE_URL", pooled_dsn)
        assert [finding.what for finding in found("connection")] == ["through a pooler in session mode"]


def test_a_clock_that_is_off_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) - timedelta(seconds=90)

    monkeypatch.setattr(connection_checks, "datetime", Late)
    assert re.match(r"(89|9\d) s apart", the_broken("clock").what)


def lease(session: Connection, worker_id: str, lease_until: str) -> None:
    session.cursor().execute(
        "INSERT INTO worker.processes (id, worker_id, threads, lease_until)"
        f" VALUES (gen_random_uuid(), %s, 32, now() + interval '{lease_until}')",
        (worker_id,),
    )


def test_a_worker_that_lost_its_lease_is_named(connection: Connection) -> None:
    lease(connection, "render-1:1", "1 minute")
    lease(connection, "render-2:1", "-42 seconds")
    what = the_broken("workers").what
    assert re.fullmatch(r"render-2:1 lost its lease [4-9]\d s ago with 0 messages in hand", what)


def test_an_old_heartbeat_of_a_living_worker_is_named(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATURE_WORKER_HEALTH_MONITORING", "true")
    lease(connection, "render-1:1", "1 minute")
    assert "there is none" in the_broken("heartbeats").what
    call(connection, "SELECT fn_worker_upsert_heartbeat('render-1:1', 'lf-worker', '{}')")
    assert [finding.level for finding in found("heartbeats")] == [Level.FINE]
    connection.cursor().execute(
        "UPDATE platform.api_worker_heartbeats SET last_seen_at = now() - interval '1 minute' WHERE true"
    )
    assert re.fullmatch(r"of render-1:1: it is [6-9]\d s old", the_broken("heartbeats").what)


def test_more_processes_than_the_server_has_room_for_are_named(connection: Connection) -> None:
    for number in range(40):
        lease(connection, f"render-1:{number}", "1 minute")
    assert "40 processes need up to 240 of" in the_broken("connections").what


def test_a_scheduler_that_stopped_is_named(connection: Connection) -> None:
    tick(connection)
    assert [finding.level for finding in found("scheduler")] == [Level.FINE]
    connection.cursor().execute("UPDATE worker.ticks SET begun_at = now() - interval '10 minutes' WHERE true")
    assert re.fullmatch(r"last tick 6\d\d s ago", the_broken("scheduler").what)


def test_a_role_that_is_not_the_owner_is_named(
    dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"stranger_{call(connection, 'SELECT pg_backend_pid()')}"
    row = connection.cursor()
    row.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'stranger'")
    try:
        address = dsn.rpartition("@")[2]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{role}:stranger@{address}")
        assert "owner" in the_broken("role").mend
    finally:
        row.execute(f"DROP ROLE {role}")


def test_an_old_schema_is_named_with_what_is_missing(connection: Connection) -> None:
    connection.cursor().execute("DELETE FROM worker.migrations WHERE number > 1")
    assert "0002_claims" in the_broken("migrations").what


def test_a_database_without_our_schema_is_named(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_dsn)
    assert the_broken("migrations").mend == "lf-worker migrate"
    assert the_broken("role").level is Level.BROKEN


def test_a_paused_queue_and_old_work_are_named(connection: Connection) -> None:
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    connection.cursor().execute("UPDATE dramatiq.queue SET mtime = now() - interval '5 minutes'")
    assert re.search(r"oldest for 3\d\d s", the_broken("queues").what)
    call(connection, "SELECT worker.pause_queue('lens_runs')")
    assert the_broken("queues").mend == "lf-worker queues resume lens_runs"


def test_a_run_that_another_worker_left_behind_is_named_and_queued_again(connection: Connection) -> None:
    run_id = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    call(connection, "SELECT public.fn_worker_claim_queued_run()")
    connection.cursor().execute("DELETE FROM dramatiq.queue WHERE true")
    assert [finding.level for finding in found("orphans")] == [Level.FINE]
    connection.cursor().execute("UPDATE execution.runs SET started_at = now() - interval '1 hour' WHERE true")
    broken = the_broken("orphans")
    assert broken.what == "1 lens runs are running for up to 60 min, and not with us"
    connection.cursor().execute(broken.mend.partition(": ")[2])
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run_id) == "queued"
    assert call(connection, "SELECT count(*) FROM dramatiq.queue") == 1


def test_templates_that_can_not_be_parsed_are_named() -> None:
    assert "template.syntax" in the_broken("templates").why


@pytest.mark.usefixtures("thorough")
def test_the_exit_code_is_the_worst_level_and_json_is_one_object() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    printed = json.loads(result.output)
    assert result.exit_code == 2
    assert printed["level"] == "broken"
    areas = {finding["area"] for finding in printed["findings"]}
    assert areas >= {"server", "workers", "templates", "statements", "values", "unclaimed", "battles"}


def test_an_unreachable_database_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseError, match="can't connect"):
        list(examine())


def test_migrating_twice_keeps_the_record_of_triggers(dsn: str, connection: Connection) -> None:
    assert migrate(dsn) == []
    assert call(connection, "SELECT count(*) FROM worker.triggers") >= 2
