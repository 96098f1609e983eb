from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.platform import Seeded
from tests.integration.conftest import import_afresh, running_worker
from tests.integration.hot_path import HotPath, long_reader
from tests.sql import call
from tests.waiting import eventually

CLAIM = """
    INSERT INTO worker.claims (message_id, kind, job, worker_id, state, finished_at, outcome)
    SELECT gen_random_uuid(), 'lens_run', gen_random_uuid(), 'host:1', 'finished',
           now() - %s * interval '1 day', 'failed'
    FROM generate_series(1, %s)
"""
MESSAGE = """
    INSERT INTO dramatiq.queue (message_id, queue_name, state, mtime, message)
    SELECT gen_random_uuid(), 'q', %s, now() - %s * interval '1 day', '{}' FROM generate_series(1, %s)
"""
CALL = """
    INSERT INTO worker.provider_calls (ended_at, kind, job, provider, model, purpose, duration_ms)
    SELECT now() - %s * interval '1 day', 'lens_run', gen_random_uuid(), 'openai', 'gpt-4o', 'answer', 9
    FROM generate_series(1, %s)
"""


@pytest.fixture
def aged(connection: Connection, seeded: Seeded) -> Connection:
    row = connection.cursor()
    for days in (1, 20):
        row.execute(CLAIM, (days, 5))
        row.execute(CALL, (days, 5))
        for state in ("rejected", "queued", "consumed"):
            row.execute(MESSAGE, (state, days, 5))
    return connection


def test_only_what_ended_long_ago_is_deleted(aged: Connection) -> None:
    assert call(aged, "SELECT deleted FROM worker.prune(interval '14 days')") == 15
    assert call(aged, "SELECT deleted FROM worker.prune(interval '14 days')") == 0
    assert call(aged, "SELECT count(*) FROM worker.claims") == 5
    assert call(aged, "SELECT count(*) FROM worker.provider_calls") == 5
    assert call(aged, "SELECT count(*) FROM dramatiq.queue") == 25
    assert call(aged, "SELECT count(*) FROM dramatiq.queue WHERE state = 'rejected'") == 5


def test_a_batch_is_as_small_as_asked(aged: Connection) -> None:
    deleted = [call(aged, "SELECT deleted FROM worker.prune(interval '14 days', 2)") for _ in range(4)]
    assert deleted == [6, 6, 3, 0]


def test_a_batch_begins_where_the_last_one_ended(aged: Connection, dsn: str) -> None:
    """While somebody keeps an old view of the database, what was deleted is still there to be walked over."""
    path = HotPath(aged)
    batch = "SELECT * FROM worker.prune(interval '14 days', 5, (SELECT reached FROM reached))"
    aged.cursor().execute("CREATE TEMPORARY TABLE reached AS SELECT NULL::timestamptz[] AS reached")
    pages = []
    with long_reader(dsn):
        for _ in range(2):
            for days in range(20, 220):
                aged.cursor().execute(CLAIM, (days, 5))
                aged.cursor().execute(CALL, (days, 5))
                aged.cursor().execute(MESSAGE, ("rejected", days, 5))
            aged.cursor().execute("UPDATE reached SET reached = NULL")
            for _ in range(200):
                aged.cursor().execute(f"UPDATE reached SET reached = b.reached FROM ({batch}) AS b")
            pages.append(path.pages_of(batch))
        assert path.pages_of("SELECT * FROM worker.prune(interval '14 days', 5)") > 3 * pages[1]
    assert pages[1] <= pages[0] + 25


@pytest.mark.usefixtures("jobs_database")
def test_the_sweep_goes_on_from_batch_to_batch_until_nothing_is_left(
    broker: LeaseBroker, connection: Connection
) -> None:
    for days in (20, 30, 40):
        connection.cursor().execute(MESSAGE, ("rejected", days, 600))
    connection.cursor().execute(MESSAGE, ("rejected", 1, 5))
    (sweeps,) = import_afresh("schedules.sweeps")
    sweeps.prune.send(off_timetable=True)
    with running_worker(broker):
        eventually(lambda: call(connection, "SELECT count(*) FROM dramatiq.queue") == 5, what="an end")
    young = "SELECT count(*) FROM dramatiq.queue WHERE mtime > now() - interval '2 days'"
    assert call(connection, young) == 5
