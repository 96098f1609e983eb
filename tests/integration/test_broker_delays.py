"""Delayed messages: rows until they are due, done soon after, and the same after a restart."""

from __future__ import annotations

import time
from datetime import timedelta

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker, QueuePolicy
from app.database import Database
from app.settings import settings
from tests.integration.broker_rows import Gate, Journal, end_sessions, row_of, rows, wait_until_empty
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

LOCKS = """
    SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND d.datname = current_database()
"""


def test_a_delayed_message_waits_in_the_table_and_costs_nothing_else(
    broker: LeaseBroker, connection: Connection
) -> None:
    note = dramatiq.actor(lambda: None, actor_name="note")
    with running_worker(broker):
        with connection, connection.cursor() as tx:
            broker.enqueue_in(tx, *[note.message() for _ in range(100)], delay_ms=3_600_000)
            sent_at = call(connection, "SELECT now()")
        done = broker.enqueue(note.message())
        eventually(
            lambda: done.message_id not in {row["message_id"] for row in rows(connection)},
            what="the end of a message that was sent later",
        )
        waiting = rows(connection)
        locks = call(connection, LOCKS)
    assert len(waiting) == 100
    assert {(row["state"], row["owner"], row["deliveries"]) for row in waiting} == {("queued", None, 0)}
    assert {(row["mtime"] - sent_at).total_seconds() for row in waiting} == {3_600.0}
    assert {row["queue_name"] for row in waiting} == {"default"}
    assert locks <= 1, "more than the one that shows that the process lives"


def test_due_times_survive_a_restart_exactly(broker: LeaseBroker, connection: Connection) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker):
        for number in range(20):
            note.send_with_options(args=(number,), delay=3_600_000 + number * 7)
        before = [(row["message_id"], row["mtime"]) for row in rows(connection)]
    assert len(before) == 20
    assert [(row["message_id"], row["mtime"]) for row in rows(connection)] == before
    # To half a second from when the last one was sent.
    last = "(SELECT max(mtime) FROM dramatiq.queue)"
    until_due = f"{last} - clock_timestamp() - interval '500 ms'"
    connection.cursor().execute(f"UPDATE dramatiq.queue SET mtime = mtime - ({until_due})")
    with running_worker(broker):
        end_sessions(connection)
        assert sorted(journal.wait_for(20)) == list(range(20))
        wait_until_empty(connection)


def test_delayed_messages_are_done_when_they_are_due_and_never_before(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(lambda number: journal.write((number, time.time())), actor_name="note")
    with running_worker(broker):
        with connection, connection.cursor() as tx:
            for number in range(40):
                broker.enqueue_in(tx, note.message(number), delay_ms=400 + (number * 37) % 900)
            # As long as the worker can't see them.
            due = {row["message"]["args"][0]: row["mtime"].timestamp() for row in rows(connection)}
        done = dict(journal.wait_for(40))
    assert done.keys() == due.keys()
    assert [number for number in due if done[number] < due[number]] == []


def test_a_delay_of_a_millisecond_is_not_overlooked(broker: LeaseBroker, connection: Connection) -> None:
    """Such a message can be due before the taker has looked up when it is."""
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker):
        for number in range(60):
            note.send_with_options(args=(number,), delay=1 + number % 4)
            assert journal.wait_for(number + 1)[number] == number
        wait_until_empty(connection)


def test_a_retry_is_done_when_its_delay_is_over(broker: LeaseBroker, connection: Connection) -> None:
    journal = Journal()

    @dramatiq.actor
    def again() -> None:
        journal.write(time.monotonic())
        if len(journal.entries) == 1:
            raise dramatiq.Retry(delay=300)

    with running_worker(broker):
        again.send()
        first, second = journal.wait_for(2)
        wait_until_empty(connection)
    assert second - first >= 0.3


def test_a_message_that_is_due_soon_passes_those_that_are_due_late(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker, threads=1):
        with connection, connection.cursor() as tx:
            broker.enqueue_in(tx, *[note.message("late") for _ in range(200)], delay_ms=3_600_000)
        with connection, connection.cursor() as tx:
            broker.enqueue_in(tx, note.message("soon"), delay_ms=200)
            broker.enqueue_in(tx, note.message("now"))
        assert journal.wait_for(2) == ["now", "soon"]


def test_a_due_time_that_is_moved_forward_by_a_newer_message_is_noticed(broker: LeaseBroker) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker):
        note.send_with_options(args=("second",), delay=3_600_000)
        note.send_with_options(args=("first",), delay=200)
        assert journal.wait_for(1) == ["first"]


def test_a_delayed_message_is_on_time_while_another_queue_is_at_its_cap(
    jobs_database: Database, connection: Connection
) -> None:
    broker = LeaseBroker(jobs_database, settings(), policies={"capped": QueuePolicy(max_in_flight=1)})
    dramatiq.set_broker(broker)
    gate, journal = Gate(), Journal()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold", queue_name="capped")
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker):
        for _ in range(2):
            hold.send()
        gate.wait_for(1)
        note.send("now")
        journal.wait_for(1)
        note.send_with_options(args=("soon",), delay=200)
        try:
            assert journal.wait_for(2) == ["now", "soon"]
        finally:
            gate.open()
        wait_until_empty(connection)


def test_a_host_whose_clock_is_five_minutes_off_is_on_time(
    broker: LeaseBroker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    right = time.time
    for off_by_seconds in (300, -300):
        monkeypatch.setattr(time, "time", lambda off=off_by_seconds: right() + off)
        before = call(connection, "SELECT clock_timestamp()")
        sent = note.send_with_options(args=(off_by_seconds,), delay=300)
        after, due = call(connection, "SELECT clock_timestamp()"), row_of(connection, sent.message_id)
        assert due is not None
        assert before <= due["mtime"] - timedelta(milliseconds=300) <= after
    with running_worker(broker):
        assert sorted(journal.wait_for(2)) == [-300, 300]
