"""Dead rows of the worker's own tables go as soon as nobody can see them any more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.cli.doctor.command import examine
from app.vacuum import MAY_VACUUM
from tests.databases import Databases, connect_as_worker
from tests.integration.broker_rows import another_broker
from tests.integration.conftest import running_worker
from tests.integration.hot_path import long_reader
from tests.sql import Connection, call
from tests.waiting import eventually

DEAD_ROWS = 500
LEAVE_DEAD_ROWS = f"""
    INSERT INTO dramatiq.queue (message_id, message)
    SELECT gen_random_uuid(), '{{}}' FROM generate_series(1, {2 * DEAD_ROWS});
    DELETE FROM dramatiq.queue;
    SELECT pg_stat_force_next_flush()
"""
COUNT = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'dramatiq.queue'::regclass"
DUE = "SELECT coalesce(array_agg(r), '{}') FROM worker.begin_vacuums(%s, %s) AS r"
QUEUE = ["dramatiq.queue"]


@pytest.fixture
def session(connection: Connection) -> Connection:
    connection.cursor().execute("ALTER TABLE dramatiq.queue SET (autovacuum_enabled = false)")
    return connection


def due(session: Connection, *, pause_seconds: float = 0.0) -> Any:
    return call(session, DUE, DEAD_ROWS, pause_seconds)


def vacuum(session: Connection) -> int:
    """Vacuum the queue; how many dead rows that left."""
    session.cursor().execute("VACUUM dramatiq.queue")
    return int(call(session, COUNT))


def test_a_vacuum_is_due_again_once_the_reader_that_held_back_the_last_has_ended(
    session: Connection, dsn: str
) -> None:
    assert due(session) == []
    with long_reader(dsn):
        session.cursor().execute(LEAVE_DEAD_ROWS)
        assert due(session) == QUEUE
        assert vacuum(session) >= DEAD_ROWS
        assert due(session) == []
        with long_reader(dsn):
            assert due(session) == []
    eventually(lambda: due(session) == QUEUE, what="the end of the reader's session")
    assert vacuum(session) == 0
    assert due(session) == []


def test_only_one_process_vacuums_a_table_and_not_soon_again(session: Connection) -> None:
    session.cursor().execute(LEAVE_DEAD_ROWS)
    assert due(session, pause_seconds=60) == QUEUE
    assert due(session, pause_seconds=60) == []


@pytest.mark.usefixtures("jobs_database")
def test_workers_vacuum_by_themselves(session: Connection, dsn: str) -> None:
    with (
        another_broker(vacuum_dead_rows=DEAD_ROWS, vacuum_interval_seconds=0.2) as broker,
        running_worker(broker),
    ):
        with long_reader(dsn):
            session.cursor().execute(LEAVE_DEAD_ROWS)
            eventually(lambda: call(session, "SELECT count(*) FROM worker.vacuums") == 1, what="a vacuum")
            assert call(session, COUNT) >= DEAD_ROWS
        eventually(lambda: call(session, COUNT) < DEAD_ROWS, what="a clean table")


@pytest.mark.usefixtures("jobs_database")
def test_a_table_that_can_not_be_vacuumed_keeps_no_other_from_it(session: Connection) -> None:
    session.cursor().execute(
        """
        CREATE OR REPLACE FUNCTION worker.begin_vacuums(p_dead_rows bigint, p_pause_seconds double precision)
        RETURNS SETOF text LANGUAGE sql AS $$ VALUES ('dramatiq.gone'), ('dramatiq.queue') $$
        """
    )
    vacuumed = "SELECT vacuum_count > 0 FROM pg_stat_user_tables WHERE relid = 'dramatiq.queue'::regclass"
    with (
        capture_logs() as logs,
        another_broker(vacuum_interval_seconds=0.1) as broker,
        running_worker(broker),
    ):
        eventually(lambda: call(session, vacuumed), what="a vacuum of the other table")
    assert any(line.get("table") == "dramatiq.gone" for line in logs)


def test_a_role_that_owns_no_tables_leaves_it_to_autovacuum(
    databases: Databases, dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(connection, MAY_VACUUM) is True
    with databases.worker_role(dsn) as role_dsn, closing(connect_as_worker(role_dsn)) as role:
        assert call(role, MAY_VACUUM) is False
        monkeypatch.setenv("DATABASE_URL", role_dsn)
        (finding,) = [finding for finding in examine() if finding.area == "vacuum"]
    assert finding.what.startswith("left to autovacuum")


def test_and_its_workers_say_so_once(
    databases: Databases, dsn: str, configure: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    with databases.worker_role(dsn) as role_dsn:
        configure(DATABASE_URL=role_dsn, WORKER_VACUUM_INTERVAL_SECONDS="0.05")
        request.getfixturevalue("jobs_database")
        with capture_logs() as logs, another_broker() as broker, running_worker(broker):
            eventually(lambda: any("autovacuum" in line["event"] for line in logs), what="a word of it")
    assert sum("autovacuum" in line["event"] for line in logs) == 1
    assert not any("could not" in line["event"] for line in logs)
