"""Leases: who holds messages, for how long, and who takes them over."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import datetime
from uuid import uuid4

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from structlog.testing import capture_logs

from app.broker import LeaseBroker
from tests.databases import connect_as_worker
from tests.integration.broker_rows import (
    Gate,
    Journal,
    another_broker,
    end_sessions,
    row_of,
    rows,
    sessions,
    state_of,
    wait_for_state,
    wait_until_empty,
)
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("jobs_database")

LEASE_SECONDS = 1.0

HOLD_BY_THE_DEAD = """
    WITH dead AS (
        INSERT INTO worker.processes (id, worker_id, threads, lease_until)
        VALUES (gen_random_uuid(), 'dead', 1, now() - interval '1 hour') RETURNING id
    )
    INSERT INTO dramatiq.queue (message_id, queue_name, state, message, owner, deliveries)
    SELECT %s, %s, 'consumed', %s, dead.id, 1 FROM dead
"""


def hold_by_a_dead_process(session: Connection, message: dramatiq.Message[object]) -> None:
    """Leave a message in the hands of a process whose lease has run out."""
    session.cursor().execute(
        HOLD_BY_THE_DEAD, (message.message_id, message.queue_name, message.encode().decode())
    )


def stray(queue_name: str = "nobodys") -> dramatiq.Message[object]:
    """A message of a queue that no worker here takes from, so that it stays as it was rescued."""
    return dramatiq.Message(queue_name=queue_name, actor_name="nobody", args=(), kwargs={}, options={})


def connected_at(session: Connection, thread: str) -> datetime | None:
    return call(
        session,
        "SELECT max(backend_start) FROM pg_stat_activity"
        " WHERE application_name = %s AND datname = current_database()",
        f"lf-worker {thread}",
    )


def test_messages_of_a_dead_process_are_another_ones_once_its_lease_is_over(
    connection: Connection,
) -> None:
    journal = Journal()
    with another_broker(broker_lease_seconds=LEASE_SECONDS) as broker:
        note = dramatiq.actor(journal.write, actor_name="note", broker=broker)
        hold_by_a_dead_process(connection, note.message("saved"))
        started = time.monotonic()
        with running_worker(broker):
            assert journal.wait_for(1) == ["saved"]
            assert time.monotonic() - started >= LEASE_SECONDS
            wait_until_empty(connection)
    assert call(connection, "SELECT count(*) FROM worker.processes WHERE worker_id = 'dead'") == 0


def test_nobody_rescues_during_the_first_lease_after_a_reconnect(connection: Connection) -> None:
    """After an outage all leases have run out; the first process back must not take everybody's jobs."""
    with another_broker(broker_lease_seconds=LEASE_SECONDS) as broker, running_worker(broker):
        first = stray()
        hold_by_a_dead_process(connection, first)
        wait_for_state(connection, first.message_id, "queued")
        second = stray()
        before = connected_at(connection, "lease")
        with connection:
            hold_by_a_dead_process(connection, second)
            end_sessions(connection, "lf-worker lease")
        eventually(
            lambda: connected_at(connection, "lease") not in {None, before}, what="a new session of the lease"
        )
        reconnected = connected_at(connection, "lease")
        wait_for_state(connection, second.message_id, "queued")
        rescued = call(connection, "SELECT clock_timestamp()")
    assert reconnected is not None
    assert (rescued - reconnected).total_seconds() >= LEASE_SECONDS


def test_a_process_that_lives_keeps_what_it_holds_for_many_leases(connection: Connection) -> None:
    gate = Gate()
    with (
        another_broker(broker_lease_seconds=LEASE_SECONDS) as holder,
        another_broker(broker_lease_seconds=LEASE_SECONDS) as other,
    ):
        hold = dramatiq.actor(gate.pass_through, actor_name="hold", broker=holder)
        dramatiq.actor(lambda: None, actor_name="unused", queue_name="unused", broker=other)
        with running_worker(holder), running_worker(other):
            sent = hold.send()
            gate.wait_for(1)
            # Both have rescued by the time that either has.
            marker = stray()
            hold_by_a_dead_process(connection, marker)
            wait_for_state(connection, marker.message_id, "queued")
            taken_at = (row_of(connection, sent.message_id) or {})["mtime"]
            renewed = "SELECT min(lease_until) > %s + 3 * interval '1 s' FROM worker.processes"
            eventually(lambda: call(connection, renewed, taken_at), what="renewals over three leases")
            row = row_of(connection, sent.message_id)
            assert row is not None
            assert (row["state"], row["deliveries"], row["owner"]) == ("consumed", 1, holder.process_id)
            gate.open()
            wait_for_state(connection, sent.message_id, None)
    assert gate.most == 1


def test_a_stopping_process_keeps_its_lease_until_its_last_job_is_done(connection: Connection) -> None:
    gate = Gate()
    with another_broker(broker_lease_seconds=LEASE_SECONDS) as holder:
        hold = dramatiq.actor(gate.pass_through, actor_name="hold", broker=holder)
        worker = dramatiq.Worker(holder, worker_timeout=50, worker_threads=2)
        worker.start()
        sent = hold.send()
        gate.wait_for(1)
        stopping = threading.Thread(target=worker.stop, kwargs={"timeout": 20_000})
        stopping.start()
        eventually(lambda: not sessions(connection, "lf-worker taker"), what="the end of taking")
        later = hold.send()
        began = call(connection, "SELECT now()")
        renewed = "SELECT min(lease_until) > %s + 3 * interval '1 s' FROM worker.processes"
        eventually(lambda: call(connection, renewed, began), what="renewals over three leases")
        assert state_of(connection, sent.message_id) == "consumed"
        gate.open()
        stopping.join(20)
    assert [(row["message_id"], row["state"]) for row in rows(connection)] == [(later.message_id, "queued")]
    assert gate.most == 1
    assert call(connection, "SELECT count(*) FROM worker.processes") == 0


def test_a_process_that_lost_its_lease_says_so_and_goes_on(connection: Connection) -> None:
    journal = Journal()
    with another_broker(broker_lease_seconds=LEASE_SECONDS) as broker, capture_logs() as logged:
        note = dramatiq.actor(journal.write, actor_name="note", broker=broker)
        with running_worker(broker):
            eventually(lambda: call(connection, "SELECT count(*) FROM worker.processes") == 1, what="a lease")
            connection.cursor().execute("DELETE FROM worker.processes")
            eventually(
                lambda: call(connection, "SELECT count(*) FROM worker.processes") == 1, what="a new lease"
            )
            note.send("still here")
            assert journal.wait_for(1) == ["still here"]
            wait_until_empty(connection)
    assert [line["event"] for line in logged].count("lease was lost") == 1


def test_a_process_takes_nothing_before_it_holds_a_lease(
    broker: LeaseBroker, connection: Connection, dsn: str
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    note.send("early")
    with closing(connect_as_worker(dsn)) as blocker:
        blocker.autocommit = False
        blocker.cursor().execute("LOCK TABLE worker.processes IN SHARE MODE")
        with running_worker(broker):
            try:
                waiting = (
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name = 'lf-worker lease' AND wait_event_type = 'Lock'"
                )
                eventually(lambda: call(connection, waiting) == 1, what="a lease that waits")
                eventually(lambda: sessions(connection, "lf-worker taker"), what="a taker's session")
                with pytest.raises(AssertionError, match="0 of 1"):
                    journal.wait_for(1, within_seconds=1)
            finally:
                blocker.rollback()
            assert journal.wait_for(1) == ["early"]


def test_what_nobody_known_holds_is_rescued(connection: Connection) -> None:
    message = stray()
    connection.cursor().execute(
        "INSERT INTO dramatiq.queue (message_id, queue_name, state, message, owner)"
        " VALUES (%s, 'nobodys', 'consumed', %s, %s)",
        (message.message_id, message.encode().decode(), str(uuid4())),
    )
    with another_broker(broker_lease_seconds=LEASE_SECONDS) as broker, running_worker(broker):
        wait_for_state(connection, message.message_id, "queued")
    assert call(connection, "SELECT owner IS NULL FROM dramatiq.queue")


def test_what_is_held_without_an_owner_is_rescued(connection: Connection) -> None:
    """A stock consumer that was started by mistake leaves such rows."""
    message = stray()
    connection.cursor().execute(
        "INSERT INTO dramatiq.queue (message_id, queue_name, state, mtime, message)"
        " VALUES (%s, 'nobodys', 'consumed', now() - interval '1 hour', %s)",
        (message.message_id, message.encode().decode()),
    )
    with another_broker(broker_lease_seconds=LEASE_SECONDS) as broker, running_worker(broker):
        wait_for_state(connection, message.message_id, "queued")
    assert call(connection, "SELECT owner IS NULL FROM dramatiq.queue")


def test_a_message_that_its_own_process_does_not_know_of_comes_again_and_a_held_one_does_not(
    connection: Connection,
) -> None:
    journal, gate = Journal(), Gate()
    with another_broker(broker_lease_seconds=LEASE_SECONDS) as broker:
        note = dramatiq.actor(journal.write, actor_name="note", broker=broker)
        hold = dramatiq.actor(gate.pass_through, actor_name="hold", broker=broker)
        with running_worker(broker):
            held = hold.send()
            gate.wait_for(1)
            forgotten = note.message("forgotten")
            connection.cursor().execute(
                "INSERT INTO dramatiq.queue"
                " (message_id, queue_name, state, message, owner, deliveries, mtime)"
                " VALUES (%s, 'default', 'consumed', %s, %s, 1, now() - interval '1 hour')",
                (forgotten.message_id, forgotten.encode().decode(), broker.process_id),
            )
            connection.cursor().execute(
                "UPDATE dramatiq.queue SET mtime = now() - interval '1 hour' WHERE message_id = %s",
                (held.message_id,),
            )
            assert journal.wait_for(1) == ["forgotten"]
            row = row_of(connection, held.message_id)
            assert row is not None
            assert (row["state"], row["deliveries"]) == ("consumed", 1)
            gate.open()
            wait_until_empty(connection)
        assert gate.most == 1
