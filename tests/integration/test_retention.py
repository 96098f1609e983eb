from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded
from tests.sql import call

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
    assert call(aged, "SELECT worker.prune(interval '14 days')") == 15
    assert call(aged, "SELECT worker.prune(interval '14 days')") == 0
    assert call(aged, "SELECT count(*) FROM worker.claims") == 5
    assert call(aged, "SELECT count(*) FROM worker.provider_calls") == 5
    assert call(aged, "SELECT count(*) FROM dramatiq.queue") == 25
    assert call(aged, "SELECT count(*) FROM dramatiq.queue WHERE state = 'rejected'") == 5


def test_a_batch_is_as_small_as_asked(aged: Connection) -> None:
    deleted = [call(aged, "SELECT worker.prune(interval '14 days', 2)") for _ in range(4)]
    assert deleted == [6, 6, 3, 0]
