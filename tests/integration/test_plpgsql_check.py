"""plpgsql_check finds no fault in our functions, and the doctor uses it wherever the server has it.

The embedded server has no such extension. Debian packages it for Debian's own server, on which these tests
run where both are installed: `apt-get install postgresql-15-plpgsql-check`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.cli.doctor.finding import Level, Patient
from app.cli.doctor.plans.check import check_statements
from app.cli.doctor.plans.extension import check_by_extension
from app.local import postgres
from app.local.binaries import Binaries
from app.local.postgres import EmbeddedPostgres, default_test_directory
from app.settings import load_settings
from tests.databases import Databases, connect_as_worker
from tests.sql import call

OLDEST_MAJOR = 15


def find_debian() -> Binaries | None:
    """Debian's newest server that has the extension."""
    found = [
        Binaries(Path(f"/usr/lib/postgresql/{major}/bin"), major)
        for major in range(OLDEST_MAJOR, 30)
        if Path(f"/usr/share/postgresql/{major}/extension/plpgsql_check.control").exists()
        and Path(f"/usr/lib/postgresql/{major}/bin/postgres").exists()
    ]
    return found[-1] if found else None


DEBIAN = find_debian()

pytestmark = pytest.mark.skipif(DEBIAN is None, reason="Debian's server with plpgsql_check isn't installed")


@pytest.fixture(scope="module")
def debian() -> Iterator[Databases]:
    assert DEBIAN is not None
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="lf-worker-tests-", dir=default_test_directory()) as folder,
    ):
        patch.setattr(postgres, "find_binaries", lambda: DEBIAN)
        with (
            EmbeddedPostgres(Path(folder) / "data", durable=False) as server,
            closing(Databases(server.dsn)) as databases,
        ):
            yield databases


@pytest.fixture
def session(debian: Databases) -> Iterator[Connection]:
    with debian.fresh("repaired") as dsn, closing(connect_as_worker(dsn)) as opened:
        yield opened


def patient(session: Connection) -> Patient:
    return Patient(session, load_settings(DATABASE_URL="postgresql://127.0.0.1/never-asked"))


def test_it_finds_no_fault_in_our_functions_and_is_gone_afterwards(session: Connection) -> None:
    (finding,) = check_statements(patient(session))
    assert (finding.level, finding.what.partition("; ")[2]) == (Level.FINE, "plpgsql_check agrees")
    assert call(session, "SELECT count(*) FROM pg_extension WHERE extname = 'plpgsql_check'") == 0
    assert check_by_extension(patient(session)) == []


@pytest.mark.parametrize(
    ("statement", "sqlstate", "function"),
    [
        (
            "DO $$ BEGIN EXECUTE 'ALTER TABLE lenses.workflow_node_results DROP CONSTRAINT ' || ("
            "SELECT conname FROM pg_constraint"
            " WHERE conrelid = 'lenses.workflow_node_results'::regclass AND contype = 'u'); END $$",
            "42P10",
            "worker.fn_write_node_results(uuid,jsonb)",
        ),
        (
            "ALTER TABLE execution.runs RENAME COLUMN cost_estimate TO estimate",
            "42703",
            "worker.note_run_cost(uuid)",
        ),
        (
            "ALTER TYPE battles.battle_status_enum RENAME VALUE 'scoring' TO 'tallying'",
            "22P02",
            "worker.fn_close_battle(uuid)",
        ),
    ],
    ids=["index", "column", "enum value"],
)
@pytest.mark.parametrize("is_installed", [False, True], ids=["available", "installed"])
def test_it_and_our_own_way_find_the_same_planted_faults(
    session: Connection, statement: str, sqlstate: str, function: str, is_installed: bool
) -> None:
    if is_installed:
        session.cursor().execute("CREATE EXTENSION plpgsql_check SCHEMA extensions")
    session.cursor().execute(statement)
    by_extension = check_by_extension(patient(session))
    assert by_extension is not None
    assert (function, sqlstate) in {(fault.where, fault.sqlstate) for fault in by_extension}
    named = [finding for finding in check_statements(patient(session)) if finding.what.startswith(sqlstate)]
    assert any(function in finding.what for finding in named)
    assert call(session, "SELECT count(*) FROM pg_extension WHERE extname = 'plpgsql_check'") == is_installed


def test_a_role_that_may_not_make_the_extension_does_without(debian: Databases) -> None:
    with debian.fresh("owner") as dsn, closing(connect_as_worker(dsn)) as session:
        assert check_by_extension(patient(session)) is None
        (finding,) = check_statements(patient(session))
    assert (finding.level, finding.what.partition("; ")[2]) == (
        Level.FINE,
        "plpgsql_check can't be used here",
    )
