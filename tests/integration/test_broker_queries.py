"""What the broker asks the database: little when busy, next to nothing when idle."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker, QueuePolicy
from app.database import Database
from app.settings import settings
from tests.databases import connect_as_worker
from tests.integration.broker_rows import (
    Gate,
    Journal,
    another_broker,
    rows,
    sessions,
    wait_for_state,
    wait_until_empty,
)
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

LAST_QUERY = (
    "SELECT max(query_start) FROM pg_stat_activity"
    " WHERE application_name = %s AND datname = current_database()"
)


@pytest.fixture
def counted(connection: Connection, superuser: Connection) -> Connection:
    """Calls of functions are counted, in sessions that begin from now on."""
    name = call(superuser, "SELECT quote_ident(current_database())")
    superuser.cursor().execute(f"ALTER DATABASE {name} SET track_functions = 'all'")
    return connection


def calls_of(session: Connection, function: str) -> int:
    """How often sessions that have ended called a function: the server counts when a session ends."""
    eventually(lambda: not sessions(session, "lf-worker taker"), what="the end of the taker's session")
    found = call(session, "SELECT calls FROM pg_stat_user_functions WHERE funcname = %s", function)
    return int(found or 0)


def last_query(session: Connection, thread: str) -> object:
    return call(session, LAST_QUERY, f"lf-worker {thread}")


def test_a_thread_that_becomes_free_while_nothing_waits_causes_no_query(
    broker: LeaseBroker, connection: Connection
) -> None:
    gate = Gate()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold")
    with running_worker(broker, threads=4):
        sent = [hold.send().message_id for _ in range(2)]
        gate.wait_for(2)
        eventually(
            lambda: call(
                connection,
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lf-worker taker' AND"
                " datname = current_database() AND state = 'idle'"
                " AND now() - state_change > interval '0.2 s'",
            ),
            what="a taker that knows that nothing waits",
        )
        before = last_query(connection, "taker")
        gate.open()
        for message_id in sent:
            wait_for_state(connection, message_id, None)
        assert last_query(connection, "taker") == before


def test_plain_messages_cause_no_search_for_due_times(counted: Connection, broker: LeaseBroker) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker, threads=4):
        for number in range(100):
            note.send(number)
            journal.wait_for(number + 1)
        wait_until_empty(counted)
    assert calls_of(counted, "take_messages") <= 130
    assert calls_of(counted, "next_due_ms") <= 5


def test_a_backlog_is_taken_in_batches_of_as_many_as_there_are_threads(
    counted: Connection, broker: LeaseBroker
) -> None:
    journal = Journal()
    note = dramatiq.actor(lambda number: (time.sleep(0.025), journal.write(number)), actor_name="note")
    with counted, counted.cursor() as tx:
        broker.enqueue_in(tx, *[note.message(number) for number in range(64)])
    with running_worker(broker, threads=8):
        while len(journal.entries) < 64:
            held = [row for row in rows(counted) if row["state"] == "consumed"]
            # A thread is free a moment before its acknowledgement is written.
            assert len(held) <= 16
        wait_until_empty(counted)
    assert calls_of(counted, "take_messages") <= 70


def test_a_queue_at_its_cap_with_a_backlog_makes_no_poll_loop(
    counted: Connection, jobs_database: Database
) -> None:
    broker = LeaseBroker(
        jobs_database,
        settings(),
        policies={"capped": QueuePolicy(max_in_flight=2)},
    )
    dramatiq.set_broker(broker)
    gate, journal = Gate(), Journal()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold", queue_name="capped")
    other = dramatiq.actor(journal.write, actor_name="other", queue_name="other")
    with running_worker(broker, threads=4):
        for _ in range(6):
            hold.send()
        gate.wait_for(2)
        for number in range(20):
            other.send(number)
            journal.wait_for(number + 1)
            time.sleep(0.02)
        gate.open()
        wait_until_empty(counted)
    # One for each of 26 messages sent, one for each of 26 that ended, and a few at the start.
    assert calls_of(counted, "take_messages") <= 70


def test_an_idle_process_asks_less_than_once_a_second(
    jobs_database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORKER_BROKER_POLL_SECONDS")
    settings.cache_clear()
    threads = ("taker", "lease", "finisher")
    with another_broker() as broker, running_worker(broker):
        dramatiq.actor(lambda: None, actor_name="note", broker=broker)
        eventually(lambda: all(last_query(connection, name) for name in threads), what="the sessions")
        eventually(lambda: call(connection, "SELECT count(*) FROM worker.processes") == 1, what="a lease")
        began, seen = time.monotonic(), set()
        while time.monotonic() < began + 3:
            seen |= {(name, last_query(connection, name)) for name in threads}
            time.sleep(0.05)
        watched_seconds = time.monotonic() - began
    # Three were there at the start, and each thread may be about to ask once more.
    assert len(seen) - 6 <= watched_seconds


@pytest.mark.parametrize("limit", [1, 5, 20])
def test_concurrent_takers_share_a_backlog_without_taking_more_than_they_asked_for(
    limit: int, broker: LeaseBroker, connection: Connection, dsn: str
) -> None:
    """Without a materialized selection Postgres may select again, and take more than the limit."""
    note = dramatiq.actor(lambda: None, actor_name="note")
    with connection, connection.cursor() as tx:
        broker.enqueue_in(tx, *[note.message() for _ in range(200)])
        tx.execute("INSERT INTO worker.processes VALUES (gen_random_uuid(), 'test', 1, now(), 'infinity')")
    owner = call(connection, "SELECT id FROM worker.processes")
    barrier = threading.Barrier(6)

    def take(_number: int) -> list[tuple[str, int]]:
        batches = []
        with closing(connect_as_worker(dsn)) as session, session.cursor() as row:
            barrier.wait(10)
            empty = 0
            while empty < 3:
                row.execute(
                    "SELECT message_id FROM worker.take_messages(%s, %s, %s, %s, %s)",
                    (owner, ["default", "other"], [limit, limit], [0, 0], limit),
                )
                batch = [str(message_id) for (message_id,) in row.fetchall()]
                assert len(batch) <= limit
                empty += not batch
                batches += batch
        return batches

    with ThreadPoolExecutor(6) as pool:
        taken = [message_id for batches in pool.map(take, range(6)) for message_id in batches]
    assert len(taken) == len(set(taken)) == 200


def test_a_long_backlog_costs_no_more_per_batch_than_a_short_one(
    broker: LeaseBroker, connection: Connection
) -> None:
    connection.cursor().execute(
        "INSERT INTO dramatiq.queue (message_id, queue_name, mtime, state, message)"
        " SELECT gen_random_uuid(), 'queue_' || n % 6, now() - n * interval '1 ms',"
        " (CASE n % 10 WHEN 0 THEN 'rejected' ELSE 'queued' END)::dramatiq.state, '{}'"
        " FROM generate_series(1, 20000) AS n; ANALYZE dramatiq.queue"
    )
    owner = call(connection, "SELECT gen_random_uuid()")
    queues = [f"queue_{number}" for number in range(6)]
    with connection, connection.cursor() as tx:
        tx.execute("SELECT pg_stat_force_next_flush()")
        before = call(connection, "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'queue'")
        tx.execute(
            "SELECT count(*) FROM worker.take_messages(%s, %s, %s, %s, 32)",
            (owner, queues, [32] * 6, [0] * 6),
        )
        after = call(connection, "SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'queue'")
        fetched = call(
            connection, "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'queue'"
        )
    assert after == before
    assert fetched <= 6 * 32 + 4 * 32
