"""`lf-worker doctor` names what was broken on purpose, and the command that mends it."""

from __future__ import annotations

import json

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.broker import LeaseBroker
from app.cli.doctor.command import examine
from app.cli.doctor.finding import Finding, Level
from app.cli.main import app
from app.errors import DatabaseError
from app.local.platform import enqueue_lens_run
from app.migrations import migrate, restore_triggers
from tests.doubles.deaf_proxy import deaf_proxy
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("seeded")


def found(area: str) -> list[Finding]:
    return [finding for finding in examine() if finding.area == area]


def the_broken(area: str) -> Finding:
    (finding,) = [finding for finding in found(area) if finding.level is not Level.FINE]
    assert finding.why
    assert finding.mend
    return finding


def tick(connection: Connection) -> None:
    call(connection, "SELECT worker.begin_tick('add_missing_tickets', now(), gen_random_uuid())")


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
    assert "dramatiq app.actors" in the_broken("workers").mend
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


def test_a_missing_function_is_named(connection: Connection) -> None:
    connection.cursor().execute("DROP FUNCTION public.fn_worker_upsert_heartbeat")
    assert "fn_worker_upsert_heartbeat" in the_broken("functions").what


def test_a_pooler_in_transaction_mode_is_named(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with deaf_proxy(dsn) as deaf_dsn:
        monkeypatch.setenv("DATABASE_URL", deaf_dsn)
        assert "session mode" in the_broken("connection").mend


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
    assert "oldest for 300 s" in the_broken("queues").what
    call(connection, "SELECT worker.pause_queue('lens_runs')")
    assert the_broken("queues").mend == "lf-worker queues resume lens_runs"


def test_templates_that_can_not_be_parsed_are_named() -> None:
    assert "template.syntax" in the_broken("templates").why


def test_the_exit_code_is_the_worst_level_and_json_is_one_object() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    printed = json.loads(result.output)
    assert result.exit_code == 2
    assert printed["level"] == "broken"
    assert {finding["area"] for finding in printed["findings"]} >= {"server", "workers", "templates"}


def test_an_unreachable_database_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseError, match="can't connect"):
        list(examine())


def test_migrating_twice_keeps_the_record_of_triggers(dsn: str, connection: Connection) -> None:
    assert migrate(dsn) == []
    assert call(connection, "SELECT count(*) FROM worker.triggers") >= 2
