"""Messages that nobody saw come or go, and that are older than what most renewals of a lease look at."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.broker import lease
from tests.integration.broker_rows import another_broker, rows, wait_for_state
from tests.integration.conftest import running_worker
from tests.sql import Connection, call

PUT = """
    INSERT INTO dramatiq.queue (message_id, queue_name, state, mtime, message, owner, deliveries)
    VALUES (%s, 'quiet', %s, now() - interval '1 hour', '{}', %s, 1)
"""
PROCESS = "INSERT INTO worker.processes VALUES (%s, 'test', 1, now(), 'infinity')"
FORGOTTEN = "SELECT worker.return_forgotten_messages(%s, '{}', '{}', 7, %s)"
RAISE = "SELECT worker.raise_floors(ARRAY['quiet'], %s)"
FIRST_TURN = "SELECT worker.fn_first_turn('quiet') < now()"


def put(session: Connection, state: str, owner: str | None = None) -> str:
    message_id = str(uuid4())
    session.cursor().execute(PUT, (message_id, state, owner))
    return message_id


def test_one_below_the_floor_is_found_by_a_look_at_everything(connection: Connection) -> None:
    call(connection, RAISE, None)
    put(connection, "queued")
    call(connection, RAISE, lease.RECENT_SECONDS)
    assert call(connection, FIRST_TURN) is None
    call(connection, RAISE, None)
    assert call(connection, FIRST_TURN) is True


def test_one_that_its_process_forgot_is_found_by_a_look_at_everything(connection: Connection) -> None:
    process = str(uuid4())
    connection.cursor().execute(PROCESS, (process,))
    put(connection, "consumed", process)
    assert call(connection, FORGOTTEN, process, lease.RECENT_SECONDS) == 0
    assert call(connection, FORGOTTEN, process, None) == 1


def test_nothing_is_enqueued_below_the_floor(connection: Connection) -> None:
    call(connection, RAISE, None)
    call(connection, "SELECT worker.enqueue('note', '{}', 'quiet', now() - interval '1 hour')")
    assert call(connection, FIRST_TURN) is True


@pytest.mark.usefixtures("jobs_database")
@pytest.mark.parametrize("holder", ["unknown", "forgetful"])
def test_a_worker_finds_them_by_itself(
    holder: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has begun long ago when they appear."""
    monkeypatch.setattr(lease, "LOOKS_AT_EVERYTHING_SECONDS", 1.0)
    with another_broker(broker_lease_seconds=0.7) as broker, running_worker(broker):
        for _ in range(2):
            message = put(connection, "consumed", str(uuid4()) if holder == "unknown" else broker.process_id)
            wait_for_state(connection, message, "queued")
    assert [(row["state"], row["owner"], row["deliveries"]) for row in rows(connection)] == [
        ("queued", None, 1),
        ("queued", None, 1),
    ]
