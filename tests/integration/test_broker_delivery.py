"""Dramatiq's contract: what is sent is done, whatever it is, and a worker stops and pauses in good order."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import dramatiq
import pytest
from psycopg2 import DataError
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from tests.integration.broker_rows import (
    Gate,
    Journal,
    row_of,
    rows,
    sessions,
    wait_for_state,
    wait_until_empty,
)
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

AWKWARD = 'ß漢字😀 \u202e\u2028 "quoted" \\back\\slash \n\t\x01 %s {} $1'


def test_arguments_arrive_as_they_were_sent(broker: LeaseBroker, connection: Connection) -> None:
    journal = Journal()
    add = dramatiq.actor(lambda *args, **kwargs: journal.write((args, kwargs)), actor_name="add")
    with running_worker(broker):
        add.send(1, 2.5, None, [True, {"a": []}], who=AWKWARD)
        assert journal.wait_for(1) == [((1, 2.5, None, [True, {"a": []}]), {"who": AWKWARD})]
        wait_until_empty(connection)


def test_a_message_sent_before_any_worker_runs_is_done_later(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    for number in range(10):
        note.send(number)
    with running_worker(broker):
        assert sorted(journal.wait_for(10)) == list(range(10))
        wait_until_empty(connection)


def test_messages_of_any_size_arrive_whole(broker: LeaseBroker, connection: Connection) -> None:
    texts = ["", "x", AWKWARD, "é" * 4_000, "n" * 8_000, "😀" * 25_000, "m" * 1_000_000]
    journal = Journal()
    note = dramatiq.actor(lambda text: journal.write(text), actor_name="note")
    with running_worker(broker):
        for text in texts:
            note.send(text=text)
        assert sorted(journal.wait_for(len(texts))) == sorted(texts)
        wait_until_empty(connection)


def test_a_text_that_postgres_can_not_hold_is_refused_at_once(
    broker: LeaseBroker, connection: Connection
) -> None:
    note = dramatiq.actor(lambda text: None, actor_name="note")
    with pytest.raises(DataError, match="unsupported Unicode escape"):
        note.send(text="a\0b")
    assert rows(connection) == []


def test_actors_of_several_queues_share_the_process(broker: LeaseBroker, connection: Connection) -> None:
    journal = Journal()
    actors = [
        dramatiq.actor(
            lambda number, queue=queue: journal.write((queue, number)), actor_name=queue, queue_name=queue
        )
        for queue in ("one", "two-words", "dotted.name", "UPPER")
    ]
    with running_worker(broker):
        for number in range(5):
            for actor in actors:
                actor.send(number)
        assert Counter(queue for queue, _ in journal.wait_for(20)) == Counter(
            {actor.queue_name: 5 for actor in actors}
        )
        wait_until_empty(connection)


def test_a_queue_that_is_declared_while_the_worker_runs_is_served(broker: LeaseBroker) -> None:
    journal = Journal()
    with running_worker(broker):
        late = dramatiq.actor(journal.write, actor_name="late", queue_name="declared_late")
        late.send("here")
        assert journal.wait_for(1) == ["here"]


def test_a_message_for_an_unknown_actor_becomes_a_dead_letter(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    stray = broker.enqueue(note.message("stray").copy(actor_name="nobody"))
    with running_worker(broker):
        wait_for_state(connection, stray.message_id, "rejected")
        note.send("next")
        assert journal.wait_for(1) == ["next"]
    row = row_of(connection, stray.message_id)
    assert row is not None
    assert row["message"]["actor_name"] == "nobody"
    assert row["message"]["args"] == ["stray"]


def test_a_paused_worker_starts_nothing_until_it_is_resumed(
    broker: LeaseBroker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.05)
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        worker.pause()
        sent = [note.send(number).message_id for number in range(2)]
        eventually(lambda: len(rows(connection)) == 2, what="the messages in the table")
        assert journal.entries == []
        worker.resume()
        assert sorted(journal.wait_for(2)) == [0, 1]
        wait_until_empty(connection)
    finally:
        worker.stop(timeout=5_000)
    assert len(sent) == len(journal.entries)


def test_what_a_worker_took_and_did_not_start_is_free_at_once_when_it_stops(
    broker: LeaseBroker, connection: Connection
) -> None:
    gate = Gate()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold")
    with running_worker(broker, threads=2, timeout_ms=200):
        sent = [hold.send().message_id for _ in range(5)]
        gate.wait_for(2)
    after = rows(connection)
    assert {row["message_id"] for row in after} == set(sent)
    assert {row["state"] for row in after} == {"queued"}
    assert {row["owner"] for row in after} == {None}
    assert call(connection, "SELECT count(*) FROM worker.processes") == 0
    gate.open()


def test_a_process_has_few_named_sessions_however_many_queues_and_threads(
    broker: LeaseBroker, connection: Connection
) -> None:
    gate = Gate()
    actors = [
        dramatiq.actor(gate.pass_through, actor_name=f"actor_{number}", queue_name=f"queue_{number}")
        for number in range(8)
    ]
    with running_worker(broker, threads=32):
        for actor in actors:
            for _ in range(4):
                actor.send()
        gate.wait_for(32)
        held = sessions(connection)
        unnamed = call(
            connection,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND application_name NOT LIKE 'lf-worker %%'",
        )
        gate.open()
        wait_until_empty(connection)
    assert {"lf-worker taker", "lf-worker finisher", "lf-worker lease"} <= held.keys()
    assert sum(len(pids) for pids in held.values()) <= 6
    assert unnamed == 0
    eventually(
        lambda: sessions(connection).keys() <= {"lf-worker jobs"}, what="the end of the broker's sessions"
    )


def test_the_process_id_is_known_while_a_worker_runs(broker: LeaseBroker, connection: Connection) -> None:
    assert broker.process_id is None
    with running_worker(broker):
        eventually(lambda: call(connection, "SELECT count(*) FROM worker.processes") == 1, what="a lease")
        assert broker.process_id is not None
        assert call(connection, "SELECT id FROM worker.processes") == UUID(broker.process_id)
    assert broker.process_id is None
