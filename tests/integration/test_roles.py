"""A role for workers that are not the owner: what it may do, and above all what it may not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner

from app.cli.doctor.command import examine
from app.cli.doctor.finding import Level
from app.cli.main import app
from app.errors import DatabaseError
from app.roles import TAKEN, grant_remembered_roles, grant_role
from tests.databases import Databases, connect_as_worker
from tests.sql import call

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def role_dsn(databases: Databases, dsn: str) -> Iterator[str]:
    with databases.worker_role(dsn) as made:
        yield made


@pytest.fixture
def role(role_dsn: str) -> Iterator[Connection]:
    with closing(connect_as_worker(role_dsn)) as session:
        yield session


def test_it_may_touch_no_table_of_the_platform(role: Connection) -> None:
    """Neither tables nor columns; `public` is closed to it as far as its functions are."""
    open_to_it = call(
        role,
        """
        SELECT coalesce(array_agg(c.oid::regclass::text), '{}') FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname !~ '^pg_|^information_schema$'
          AND n.nspname NOT IN ('worker', 'dramatiq')
          AND has_schema_privilege(n.oid, 'USAGE')
          AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
               OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))
        """,
    )
    assert open_to_it == []


MESSAGE = json.dumps({"message_id": str(UUID(int=1)), "queue_name": "sweeps", "actor_name": "none"})

#: What a worker's role tries that has gone bad.
REFUSED = [
    "SELECT email FROM auth.users",
    "SELECT * FROM lensers.profiles",
    "SELECT decrypted_secret FROM vault.decrypted_secrets",
    "SELECT * FROM ai.keys",
    "SELECT input_snapshot FROM execution.requests",
    "UPDATE execution.runs SET status = 'succeeded' WHERE true",
    "SELECT ai.fn_decrypt_api_key(gen_random_uuid())",
    "CREATE TABLE public.theirs ()",
    "CREATE TABLE worker.theirs ()",
    "CREATE SCHEMA theirs",
    "CREATE FUNCTION worker.fn_theirs() RETURNS void LANGUAGE sql AS 'SELECT'",
    "ALTER TABLE worker.claims ADD COLUMN theirs text",
    "DROP TABLE worker.claims",
    "DROP TRIGGER lf_worker_ticket_inserted_runs ON execution.runs",
    "UPDATE worker.kinds SET claim_next = 'SELECT 1' WHERE true",
    "INSERT INTO worker.roles (name) VALUES ('theirs')",
    "SELECT worker.restore_triggers()",
    "SET ROLE service_role",
    "SET ROLE authenticated",
]


def test_it_reads_no_secret_and_changes_no_schema(role: Connection) -> None:
    for statement in REFUSED:
        with pytest.raises(InsufficientPrivilege):
            role.cursor().execute(statement)
            pytest.fail(f"{statement} was not refused")


def test_nothing_that_it_plants_runs_as_the_owner(role: Connection, connection: Connection) -> None:
    """Types and tables of a caller's own, which Postgres looks for first unless a function says otherwise."""
    with role.cursor() as row:
        row.execute("CREATE TABLE pg_temp.seen (who text); GRANT ALL ON pg_temp.seen TO PUBLIC")
        row.execute(
            "CREATE FUNCTION pg_temp.spy(text) RETURNS boolean LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO pg_temp.seen VALUES (current_user); RETURN true; END $$"
        )
        row.execute("CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.spy(VALUE))")
        row.execute("SELECT worker.enqueue_messages(ARRAY[%s::jsonb], ARRAY[0], NULL)", (MESSAGE,))
    assert call(role, "SELECT count(*) FROM pg_temp.seen WHERE who <> session_user") == 0
    unsafe = call(
        connection,
        """
        SELECT coalesce(array_agg(p.oid::regprocedure::text), '{}') FROM pg_proc p
        WHERE p.pronamespace = 'worker'::regnamespace AND p.prosecdef
          AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c ~ '^search_path=.*, *pg_temp$')
        """,
    )
    assert unsafe == []


def test_the_doctor_understands_it(
    role_dsn: str, dsn: str, role: Connection, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", role_dsn)
    by_area = {finding.area: finding for finding in examine()}
    assert by_area["role"].level is Level.FINE
    assert by_area["role"].what.endswith("with what the worker needs and no more")
    broken = [
        f for f in by_area.values() if f.level is Level.BROKEN and f.area not in {"workers", "scheduler"}
    ]
    assert broken == []
    name = call(role, "SELECT current_user")
    connection.cursor().execute(f"REVOKE SELECT ON worker.claims FROM {name}")
    (found,) = [finding for finding in examine() if finding.area == "role"]
    assert found.level is Level.BROKEN
    assert found.what == f"{name} lacks 1 rights, such as SELECT ON worker.claims"
    monkeypatch.setenv("DATABASE_URL", dsn)
    assert CliRunner().invoke(app, ["migrate", "--role", name]).exit_code == 0
    monkeypatch.setenv("DATABASE_URL", role_dsn)
    assert [finding.level for finding in examine() if finding.area == "role"] == [Level.FINE]


def test_the_release_step_in_its_rights_only_looks(
    role_dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", role_dsn)
    fine = CliRunner().invoke(app, ["migrate"])
    assert (fine.exit_code, fine.output) == (0, "The database is up to date.\n")
    connection.cursor().execute(
        "DELETE FROM worker.migrations WHERE number = (SELECT max(number) FROM worker.migrations)"
    )
    behind = CliRunner().invoke(app, ["migrate"])
    assert isinstance(behind.exception, DatabaseError)
    assert "as the platform's owner first" in str(behind.exception)


def test_commands_work_in_its_rights(role_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", role_dsn)
    for command in (
        ["status", "--json"],
        ["queues", "list"],
        ["queues", "pause", "battles"],
        ["dead-letters", "list"],
        ["webhooks", "list"],
        ["workflows", "waiting"],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert json.loads(CliRunner().invoke(app, ["status", "--json"]).output)


def test_later_migrations_give_it_what_they_bring(dsn: str, role: Connection, connection: Connection) -> None:
    name = call(role, "SELECT current_user")
    connection.cursor().execute(f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA worker FROM {name}")
    assert grant_remembered_roles(dsn) == [name]
    assert call(role, "SELECT count(*) FROM worker.kind_status()") > 0


def test_roles_of_the_platform_are_refused(dsn: str) -> None:
    for name in (*sorted(TAKEN), " "):
        with pytest.raises(DatabaseError, match="is not for workers"):
            grant_role(dsn, name)


def test_the_owner_is_refused(dsn: str, connection: Connection) -> None:
    with pytest.raises(DatabaseError, match=r"superuser or the owner|is not for workers"):
        grant_role(dsn, call(connection, "SELECT current_user"))


def test_a_role_that_may_create_in_public_is_refused(databases: Databases, dsn: str, role_dsn: str) -> None:
    with closing(psycopg2.connect(databases.superuser_dsn(dsn))) as session, session:
        session.cursor().execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with pytest.raises(DatabaseError, match="REVOKE CREATE ON SCHEMA public"):
        grant_role(dsn, psycopg2.extensions.parse_dsn(role_dsn)["user"])
