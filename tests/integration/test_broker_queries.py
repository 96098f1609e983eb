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

QUIET = (
    "SELECT count(*) = 3 FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = ANY (%s) AND clock_timestamp() - query_start > interval '1 s'"
)

RECORD_TAKES = """
    CREATE TABLE worker.takes (number serial, got integer);
    ALTER FUNCTION worker.take_messages RENAME TO take_messages_unseen;
    CREATE FUNCTION worker.take_messages(
        p_owner uuid, p_queues text[], p_caps integer[], p_handicaps_ms integer[], p_limit integer
    ) RETURNS TABLE (message_id text, queue_name text, message text, delivery integer)
    LANGUAGE plpgsql SET search_path = '' AS $$
    DECLARE
        v_got integer;
    BEGIN
        RETURN QUERY SELECT * FROM worker.take_messages_unseen(
            p_owner, p_queues, p_caps, p_handicaps_ms, p_limit);
        GET DIAGNOSTICS v_got = ROW_COUNT;
        INSERT INTO worker.takes (got) VALUES (v_got);
    END $$
"""

#: A taker looks once because its process has a lease, and may hear of that at any time after its first batch.
FOR_THE_LEASE = 1


@pytest.fixture
def counted(connection: Connection, superuser: Connection) -> Connection:
    """Calls of functions are counted, in sessions that begin from now on."""
    name = call(superuser, "SELECT quote_ident(current_database())")
    superuser.cursor().execute(f"ALTER DATABASE {name} SET track_functions = 'all'")
    return connection


@pytest.fixture
def recorded(connection: Connection) -> Connection:
    """Every look of a taker into the table is recorded; see `takes`."""
    connection.cursor().execute(RECORD_TAKES)
    return connection


def takes(session: Connection) -> list[int]:
    """How many messages each look of a taker got, in order."""
    with session.cursor() as row:
        row.execute("SELECT got FROM worker.takes ORDER BY number")
        return [got for (got,) in row.fetchall()]


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
    gates = [Gate() for _ in range(12)]
    hold = dramatiq.actor(lambda number: gates[number].pass_through(), actor_name="hold")
    messages = [hold.message(number) for number in range(len(gates))]
    with running_worker(broker, threads=len(gates)):
        with connection, connection.cursor() as tx:
            broker.enqueue_in(tx, *messages)
        for gate in gates:
            gate.wait_for(1)
        queries = {last_query(connection, "taker")}
        for gate, message in zip(gates, messages, strict=True):
            gate.open()
            wait_for_state(connection, message.message_id, None)
            queries.add(last_query(connection, "taker"))
    # A look may be two queries, and the messages may have been found by one before word of them came.
    assert len(queries) <= 1 + 2 * (FOR_THE_LEASE + 1)


def test_plain_messages_cause_no_search_for_due_times(
    counted: Connection, recorded: Connection, broker: LeaseBroker
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker, threads=4):
        for number in range(100):
            note.send(number)
            journal.wait_for(number + 1)
        wait_until_empty(counted)
    # Another look is for the queue itself, and the session begins with a search.
    assert len(takes(recorded)) <= 100 + 1 + FOR_THE_LEASE
    assert calls_of(counted, "next_due_ms") <= 1 + 1 + FOR_THE_LEASE


def test_a_backlog_is_taken_in_batches_of_as_many_as_there_are_threads(
    recorded: Connection, broker: LeaseBroker
) -> None:
    threads, entered = 8, Journal()
    gates = [Gate() for _ in range(64)]

    def work(number: int) -> None:
        entered.write(number)
        time.sleep(0.025)  # no short job, of which more are taken
        gates[number].pass_through()

    hold = dramatiq.actor(work, actor_name="hold")
    with recorded, recorded.cursor() as tx:
        broker.enqueue_in(tx, *[hold.message(number) for number in range(len(gates))])
    with running_worker(broker, threads=threads):
        for count in range(threads, len(gates) + 1, threads):
            batch = entered.wait_for(count)[count - threads :]
            assert sum(takes(recorded)) == count, "as many as are done or in a thread"
            for number in batch:
                gates[number].open()
        wait_until_empty(recorded)
    looks = takes(recorded)
    assert max(looks) == threads
    assert looks.count(0) <= 1 + FOR_THE_LEASE, "one finds out that nothing is left"


def test_a_queue_at_its_cap_with_a_backlog_makes_no_poll_loop(
    recorded: Connection, jobs_database: Database
) -> None:
    broker = LeaseBroker(
        jobs_database,
        settings(),
        policies={"capped": QueuePolicy(max_in_flight=2)},
    )
    dramatiq.set_broker(broker)
    gate = Gate()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold", queue_name="capped")
    other = dramatiq.actor(lambda: None, actor_name="other", queue_name="other")
    with running_worker(broker, threads=4):
        for _ in range(6):
            hold.send()
        gate.wait_for(2)
        before = len(takes(recorded))
        for _ in range(20):
            wait_for_state(recorded, other.send().message_id, None)
        at_the_cap = takes(recorded)[before:]
        gate.open()
        wait_until_empty(recorded)
    # One for each message, none for a thread that becomes free, and another for the queue itself.
    assert len(at_the_cap) <= 20 + 1 + FOR_THE_LEASE
    afterwards = takes(recorded)[before + len(at_the_cap) :]
    assert sum(afterwards) == 4
    assert afterwards.count(0) <= 1 + FOR_THE_LEASE, "one finds out that nothing is left"


def test_an_idle_process_asks_less_than_once_a_second(
    jobs_database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORKER_BROKER_POLL_SECONDS")
    settings.cache_clear()
    threads = ("taker", "lease", "finisher")
    with another_broker() as broker, running_worker(broker):
        dramatiq.actor(lambda: None, actor_name="note", broker=broker).send()
        wait_until_empty(connection)
        names = [f"lf-worker {name}" for name in threads]
        eventually(lambda: call(connection, QUIET, names), what="the end of the start")
        began, seen = time.monotonic(), set()
        while time.monotonic() < began + 3:
            seen |= {(name, last_query(connection, name)) for name in threads}
            time.sleep(0.05)
        watched_seconds = time.monotonic() - began
    # Three were there at the start.
    assert len(seen) - 3 <= watched_seconds


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
