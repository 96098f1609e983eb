"""Stock dramatiq-pg beside ours: its producers and its statistics work on the same table."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest
from dramatiq.common import current_millis
from dramatiq_pg import PostgresBroker
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.broker.notifications import Notifications
from tests.integration.broker_rows import Gate, Journal, rows, wait_for_state, wait_until_empty
from tests.integration.conftest import running_worker
from tests.waiting import eventually


@pytest.fixture
def stock(dsn: str) -> Iterator[PostgresBroker]:
    """The broker of dramatiq-pg as PyPI has it."""
    built = PostgresBroker(url=dsn, results=False, middleware=[])
    yield built
    built.pool.closeall()


def test_what_a_stock_producer_sends_is_done(
    stock: PostgresBroker, broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(lambda text: journal.write(text), actor_name="note")
    texts = ["before", "ß😀", "long " * 4_000]
    stock.enqueue(note.message(text=texts[0]))
    with running_worker(broker):
        journal.wait_for(1)
        for text in texts[1:]:
            stock.enqueue(note.message(text=text))
        assert sorted(journal.wait_for(3)) == sorted(texts)
        wait_until_empty(connection)


def test_what_a_stock_producer_delays_is_done_at_its_time(
    stock: PostgresBroker, broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(lambda number: journal.write((number, time.time() * 1000)), actor_name="note")
    due = {}
    for number, delay_ms in enumerate((900, 500, 700)):
        sent = stock.enqueue(note.message(number), delay=delay_ms)
        due[number] = sent.options["eta"]
    with running_worker(broker, threads=1):
        early = [number for number, at in journal.wait_for(3) if at < due[number]]
        wait_until_empty(connection)
    assert [number for number, _ in journal.entries] == sorted(due, key=lambda number: due[number])
    assert early == []


def test_a_worker_waits_for_the_first_that_a_stock_producer_delayed(
    stock: PostgresBroker, broker: LeaseBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How late it is then is for the machine to say; the time until which it waits is not."""
    due, wakes_at_ms = [], [0.0]

    class Watched(Notifications):
        def wait(self, seconds: float) -> set[tuple[str, str]]:
            wakes_at_ms.append((time.time() + seconds) * 1000)
            return super().wait(seconds)

    monkeypatch.setattr("app.broker.taker.Notifications", Watched)
    note = dramatiq.actor(lambda: None, actor_name="note")
    with running_worker(broker):
        for delay_ms in (2_000_000, 1_000_000, 1_500_000):
            sent = stock.enqueue(note.message(), delay=delay_ms)
            due.append(sent.options["eta"])
            eventually(lambda: 0 <= wakes_at_ms[-1] - min(due) < 1_000, what="a wait until then")


def test_a_message_that_a_stock_producer_delayed_waits_in_its_own_queue_to_the_millisecond(
    stock: PostgresBroker, broker: LeaseBroker, connection: Connection
) -> None:
    note = dramatiq.actor(lambda: None, actor_name="note", queue_name="some.queue")
    sent = stock.enqueue(note.message(), delay=3_600_000)
    (row,) = rows(connection)
    assert (row["queue_name"], row["state"]) == ("some.queue", "queued")
    assert row["message"]["queue_name"] == "some.queue"
    assert row["message"]["options"] == {}
    assert round(row["mtime"].timestamp() * 1000) == sent.options["eta"]
    assert abs(sent.options["eta"] - current_millis() - 3_600_000) < 5_000


def test_a_message_found_in_another_queue_than_it_names_is_done_in_the_one_it_was_found_in(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    sent = broker.enqueue(note.message("first").copy(options={"eta": current_millis() + 3_600_000}))
    connection.cursor().execute(
        "UPDATE dramatiq.queue SET message = jsonb_set(message, '{queue_name}', '\"elsewhere.DQ\"')"
        " WHERE message_id = %s",
        (sent.message_id,),
    )
    with running_worker(broker):
        assert journal.wait_for(1) == ["first"]
        wait_until_empty(connection)


def stats(dsn: str) -> dict[str, int]:
    """What `dramatiq-pg stats` prints."""
    told = subprocess.run(
        [Path(sys.executable).parent / "dramatiq-pg", "--dsn", dsn, "stats"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    return {state: int(count) for state, count in (line.split(": ") for line in told.splitlines())}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="dramatiq-pg's command needs distutils")
def test_the_stock_statistics_count_every_state(
    broker: LeaseBroker, connection: Connection, dsn: str
) -> None:
    gate = Gate()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold")

    @dramatiq.actor
    def fail() -> None:
        raise ValueError

    with running_worker(broker, threads=3):
        for _ in range(4):
            hold.send_with_options(delay=3_600_000)
        failed = fail.send()
        wait_for_state(connection, failed.message_id, "rejected")
        for _ in range(2):
            hold.send()
        gate.wait_for(2)
        assert stats(dsn) == {"queued": 4, "consumed": 2, "done": 0, "rejected": 1}
        gate.open()
    assert stats(dsn) == {"queued": 4, "consumed": 0, "done": 0, "rejected": 1}
