"""Sending: alone, in somebody's transaction, under a key, and from many threads at once."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import dramatiq
import pytest
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED
from psycopg2.extensions import connection as Connection  # noqa: N812
from structlog.testing import capture_logs

from app.broker import LeaseBroker
from app.database import Database
from app.settings import settings
from tests.databases import connect_as_worker
from tests.integration.broker_rows import Gate, Journal, end_sessions, rows, sessions, wait_until_empty
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually


@pytest.fixture
def note(broker: LeaseBroker) -> dramatiq.Actor[..., None]:
    return dramatiq.actor(lambda *args: None, actor_name="note")


def waiting_with(session: Connection, key: str) -> int:
    return int(
        call(
            session,
            "SELECT count(*) FROM dramatiq.queue WHERE unique_key = %s AND state = 'queued'",
            key,
        )
    )


def test_a_message_is_sent_when_its_transaction_commits_and_not_before(
    broker: LeaseBroker, connection: Connection, dsn: str
) -> None:
    journal = Journal()
    write = dramatiq.actor(journal.write, actor_name="write")
    with running_worker(broker), closing(connect_as_worker(dsn)) as caller:
        caller.autocommit = False
        broker.enqueue_in(caller.cursor(), write.message("joined"))
        write.send("alone")
        assert journal.wait_for(1) == ["alone"]
        wait_until_empty(connection)
        caller.commit()
        assert journal.wait_for(2) == ["alone", "joined"]


def test_a_transaction_that_rolls_back_sends_nothing(
    broker: LeaseBroker, connection: Connection, note: dramatiq.Actor[..., None]
) -> None:
    with pytest.raises(ZeroDivisionError), connection, connection.cursor() as tx:
        broker.enqueue_in(tx, *[note.message(number) for number in range(10)])
        raise ZeroDivisionError
    assert rows(connection) == []


def test_many_messages_of_several_queues_are_sent_in_one_call_and_wake_each_queue_once(
    broker: LeaseBroker, connection: Connection, superuser: Connection, dsn: str
) -> None:
    actors = [dramatiq.actor(lambda: None, actor_name=name, queue_name=name) for name in ("one", "two")]
    with closing(connect_as_worker(dsn)) as listener:
        for name in ("one", "two"):
            listener.cursor().execute(f'LISTEN "dramatiq.{name}.enqueue"')
        with superuser, superuser.cursor() as tx:
            tx.execute("SET LOCAL track_functions = 'all'")
            broker.enqueue_in(tx, *[actor.message() for actor in actors for _ in range(250)])
            tx.execute("SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'enqueue_messages'")
            assert tx.fetchall() == [(1,)]
        eventually(lambda: listener.poll() or len(listener.notifies) >= 2, what="both notifications")
        call(listener, "SELECT 1")
        assert Counter(notify.channel for notify in listener.notifies) == {
            "dramatiq.one.enqueue": 1,
            "dramatiq.two.enqueue": 1,
        }
        assert max(len(notify.payload) for notify in listener.notifies) < 100
    assert Counter(row["queue_name"] for row in rows(connection)) == {"one": 250, "two": 250}


def test_no_messages_are_sent_without_complaint(broker: LeaseBroker, connection: Connection) -> None:
    with connection, connection.cursor() as tx:
        broker.enqueue_in(tx)
    assert rows(connection) == []


def test_a_key_holds_one_waiting_message_however_often_it_is_sent(
    broker: LeaseBroker, connection: Connection, note: dramatiq.Actor[..., None]
) -> None:
    with connection, connection.cursor() as tx:
        broker.enqueue_in(tx, note.message("first"), unique_key="k")
        broker.enqueue_in(tx, note.message("second"), unique_key="k")
        broker.enqueue_in(tx, note.message("other"), unique_key="other")
    with connection, connection.cursor() as tx:
        broker.enqueue_in(tx, note.message("third"), unique_key="k", delay_ms=1_000)
        broker.enqueue_in(tx, note.message("without"))
    kept = {row["unique_key"]: row["message"]["args"] for row in rows(connection)}
    assert kept == {"k": ["first"], "other": ["other"], None: ["without"]}


def test_a_key_holds_one_of_several_messages_that_are_sent_together(
    broker: LeaseBroker, connection: Connection, note: dramatiq.Actor[..., None]
) -> None:
    with connection, connection.cursor() as tx:
        broker.enqueue_in(tx, note.message("first"), note.message("second"), unique_key="k")
    assert waiting_with(connection, "k") == 1


def test_a_key_is_free_again_when_its_message_is_taken(broker: LeaseBroker, connection: Connection) -> None:
    gate, journal = Gate(), Journal()

    @dramatiq.actor
    def hold(number: int) -> None:
        journal.write(number)
        gate.pass_through()

    with running_worker(broker, threads=4):
        for number in range(3):
            with connection, connection.cursor() as tx:
                broker.enqueue_in(tx, hold.message(number), unique_key="k")
            journal.wait_for(number + 1)
        gate.open()
        wait_until_empty(connection)
    assert journal.entries == [0, 1, 2]


def test_a_message_of_a_key_can_come_back_while_a_newer_one_waits(
    broker: LeaseBroker, connection: Connection
) -> None:
    """Being tried again, or given back, must not fail for the key."""
    gate, journal = Gate(), Journal()

    @dramatiq.actor
    def hold(number: int) -> None:
        journal.write(number)
        if number == 0 and len(journal.entries) == 1:
            gate.pass_through()
            raise dramatiq.Retry(delay=0)

    with running_worker(broker, threads=1):
        with connection, connection.cursor() as tx:
            broker.enqueue_in(tx, hold.message(0), unique_key="k")
        gate.wait_for(1)
        with connection, connection.cursor() as tx:
            broker.enqueue_in(tx, hold.message(1), unique_key="k")
        gate.open()
        assert Counter(journal.wait_for(3)) == {0: 2, 1: 1}
        wait_until_empty(connection)


def test_sixteen_producers_at_once_leave_one_message_of_a_key(
    broker: LeaseBroker, connection: Connection, dsn: str, note: dramatiq.Actor[..., None]
) -> None:
    barrier = threading.Barrier(16)

    def produce(producer: int) -> None:
        with closing(connect_as_worker(dsn)) as session:
            session.set_isolation_level(ISOLATION_LEVEL_READ_COMMITTED)
            for turn in range(8):
                barrier.wait(20)
                with session, session.cursor() as tx:
                    broker.enqueue_in(tx, note.message(producer), unique_key=f"key {turn}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(produce, range(16)))
    assert Counter(row["unique_key"] for row in rows(connection)) == {f"key {turn}": 1 for turn in range(8)}


def test_more_threads_than_connections_can_send(broker: LeaseBroker, connection: Connection) -> None:
    journal = Journal()
    write = dramatiq.actor(journal.write, actor_name="write")
    with running_worker(broker, threads=8):
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(write.send, range(640)))
        held = len(sessions(connection, "lf-worker jobs").get("lf-worker jobs", []))
        journal.wait_for(640)
        wait_until_empty(connection)
    assert held <= 3
    assert Counter(journal.entries) == Counter(range(640))


def test_sending_survives_the_end_of_its_sessions(broker: LeaseBroker, connection: Connection) -> None:
    journal = Journal()
    write = dramatiq.actor(journal.write, actor_name="write")
    with running_worker(broker):
        for number in range(10):
            write.send(number)
            end_sessions(connection, "lf-worker jobs")
        assert sorted(journal.wait_for(10)) == list(range(10))
        wait_until_empty(connection)


def test_sending_waits_until_a_connection_becomes_free(
    database: Database, connection: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, free = threading.Event(), threading.Event()
    pool = Database(dsn, max_connections=1, wait_seconds=0.05)
    broker = LeaseBroker(pool, settings())
    note = dramatiq.actor(lambda: None, actor_name="note", broker=broker)
    acquire = pool._free.acquire

    def tell(**terms: float) -> bool:
        got = acquire(**terms)
        if not got:
            free.set()
        return got

    def hold() -> None:
        with pool.transaction():
            busy.set()
            free.wait(20)

    with closing(pool), ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        assert busy.wait(20)
        monkeypatch.setattr(pool._free, "acquire", tell)
        note.send()
        holding.result()
    assert len(rows(connection)) == 1


def test_a_message_that_is_sent_again_under_its_id_is_there_once(
    broker: LeaseBroker, connection: Connection, note: dramatiq.Actor[..., None]
) -> None:
    message = note.message("same")
    for _ in range(3):
        broker.enqueue(message)
    assert [row["message_id"] for row in rows(connection)] == [message.message_id]


def test_what_sql_enqueues_is_done_and_keyed_like_the_rest(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    dramatiq.actor(lambda text: journal.write(text), actor_name="write", queue_name="from_sql")
    for text in ("first", "second"):
        call(
            connection,
            "SELECT worker.enqueue('write', jsonb_build_object('text', %s), p_queue => 'from_sql',"
            " p_unique_key => 'k')",
            text,
        )
    assert waiting_with(connection, "k") == 1
    with running_worker(broker):
        assert journal.wait_for(1) == ["first"]
        call(
            connection,
            "SELECT worker.enqueue('write', '{\"text\": \"later\"}', p_queue => 'from_sql',"
            " p_due_at => now() + interval '0.3 s')",
        )
        eventually(lambda: len(rows(connection)) == 1, what="a delayed message")
        assert journal.wait_for(2) == ["first", "later"]
        wait_until_empty(connection)


@pytest.mark.environment(WORKER_DATABASE_POOL_WAIT_SECONDS="0.01")
def test_a_message_waits_for_a_database_that_is_read_only_and_says_so_once(
    note: dramatiq.Actor[..., None],
    connection: Connection,
    superuser: Connection,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = urlsplit(dsn).path[1:]
    superuser.cursor().execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            superuser.cursor().execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    monkeypatch.setattr("app.broker.broker.time.sleep", pause)
    with capture_logs() as logs:
        note.send()
    assert len(rows(connection)) == 1
    assert [line["event"] for line in logs] == ["messages wait for the database"]
