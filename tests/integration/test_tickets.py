"""Tickets: written with the work, in its transaction, and restored when one is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.claims import open_claim
from app.database import Database
from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs
from tests.databases import connect_as_worker
from tests.sql import call

TICKETS = "SELECT count(*) FROM dramatiq.queue WHERE state = 'queued'"
SWEEP = "SELECT worker.add_missing_tickets('lens_run')"


def test_every_queued_run_gets_a_ticket_that_names_it(connection: Connection, seeded: Seeded) -> None:
    runs = enqueue_lens_runs(connection, 5, model="gpt-4o", inputs={"prompt": "hi"})
    with connection.cursor() as row:
        row.execute("SELECT queue_name, message -> 'kwargs' ->> 'job' FROM dramatiq.queue")
        tickets = row.fetchall()
    assert {queue for queue, _ in tickets} == {"lens_runs"}
    assert {job for _, job in tickets} == {str(run) for run in runs}


def test_a_run_that_is_rolled_back_leaves_no_ticket(connection: Connection, seeded: Seeded) -> None:
    with pytest.raises(ZeroDivisionError), connection:
        enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
        raise ZeroDivisionError
    assert call(connection, TICKETS) == 0


def test_a_requeued_run_gets_a_ticket_again(connection: Connection, seeded: Seeded) -> None:
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    row = connection.cursor()
    row.execute("DELETE FROM dramatiq.queue WHERE queue_name = 'lens_runs'")
    row.execute("UPDATE execution.runs SET status = 'running' WHERE id = %s", (run,))
    assert call(connection, TICKETS) == 0
    row.execute("UPDATE execution.runs SET status = 'queued' WHERE id = %s", (run,))
    assert call(connection, TICKETS) == 1


def test_the_platforms_insert_succeeds_even_if_the_ticket_fails(
    connection: Connection, seeded: Seeded
) -> None:
    connection.cursor().execute("DROP TABLE dramatiq.queue CASCADE")
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    assert call(connection, "SELECT count(*) FROM execution.runs WHERE status = 'queued'") == 1
    assert any("lf-worker: no ticket" in notice for notice in connection.notices)


def test_a_user_of_the_platform_writes_tickets_without_seeing_them(
    connection: Connection, seeded: Seeded
) -> None:
    row = connection.cursor()
    row.execute("GRANT USAGE ON SCHEMA execution TO authenticated")
    row.execute("GRANT INSERT, SELECT ON execution.runs, execution.requests TO authenticated")
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    row.execute("SET ROLE authenticated")
    row.execute("INSERT INTO execution.runs (request_id) SELECT id FROM execution.requests")
    for forbidden in ("SELECT * FROM dramatiq.queue", "SELECT * FROM worker.claims", SWEEP):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            row.execute(forbidden)
    row.execute("RESET ROLE")
    assert call(connection, TICKETS) == 2


def test_the_sweep_adds_only_what_is_missing(connection: Connection, seeded: Seeded) -> None:
    enqueue_lens_runs(connection, 5, model="gpt-4o", inputs={"prompt": "hi"})
    assert call(connection, SWEEP) == 0
    connection.cursor().execute(
        "DELETE FROM dramatiq.queue WHERE message_id IN (SELECT message_id FROM dramatiq.queue LIMIT 3)"
    )
    assert call(connection, SWEEP) == 3
    assert call(connection, SWEEP) == 0
    assert call(connection, TICKETS) == 5


def test_two_sweeps_at_once_add_no_more_than_one(dsn: str, connection: Connection, seeded: Seeded) -> None:
    enqueue_lens_runs(connection, 20, model="gpt-4o", inputs={"prompt": "hi"})
    connection.cursor().execute("DELETE FROM dramatiq.queue WHERE queue_name = 'lens_runs'")

    def sweep(_: int) -> int:
        with closing(connect_as_worker(dsn)) as session:
            return int(call(session, SWEEP))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(sweep, range(8))) == 20
    assert call(connection, TICKETS) == 20


def test_the_sweep_brings_the_lost_message_of_an_open_claim_back(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    message_id = uuid4()
    open_claim(jobs_database, message_id, "lens_run", "host:1", hint=None, max_deaths=3)
    connection.cursor().execute("DELETE FROM dramatiq.queue WHERE queue_name = 'lens_runs'")
    assert call(connection, SWEEP) == 1
    assert str(call(connection, "SELECT message_id FROM dramatiq.queue")) == str(message_id)
    assert call(connection, SWEEP) == 0
