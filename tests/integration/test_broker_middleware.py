"""Dramatiq's middlewares on this broker: retries, limits, shutdowns, and the signals that each hears."""

from __future__ import annotations

import time
from typing import Any

import dramatiq
import pytest
from dramatiq.middleware import (
    AgeLimit,
    CurrentMessage,
    Middleware,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.database import Database
from app.settings import settings
from tests.integration.broker_rows import (
    Journal,
    row_of,
    rows,
    wait_for_state,
    wait_until_empty,
)
from tests.integration.conftest import running_worker


@pytest.fixture
def retrying_broker(jobs_database: Database) -> LeaseBroker:
    """A broker that tries every error again, as Dramatiq does unless told otherwise."""
    built = LeaseBroker(
        jobs_database,
        settings(),
        middleware=[
            AgeLimit(),
            TimeLimit(interval=50),
            ShutdownNotifications(),
            CurrentMessage(),
            Retries(max_retries=2, min_backoff=20, max_backoff=40),
        ],
    )
    dramatiq.set_broker(built)
    return built


def test_an_error_is_tried_again_as_often_as_max_retries_says(
    retrying_broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()

    @dramatiq.actor
    def fail() -> None:
        message = CurrentMessage.get_current_message()
        journal.write(message.options.get("retries", 0) if message else None)
        raise ValueError("out of luck")

    with running_worker(retrying_broker):
        sent = fail.send()
        wait_for_state(connection, sent.message_id, "rejected")
    assert journal.entries == [0, 1, 2]
    row = row_of(connection, sent.message_id)
    assert row is not None
    assert row["deliveries"] == 3
    assert "ValueError: out of luck" in row["message"]["options"]["traceback"]


def test_an_error_that_passes_is_forgotten(retrying_broker: LeaseBroker, connection: Connection) -> None:
    journal = Journal()

    @dramatiq.actor
    def fail_once() -> None:
        journal.write("ran")
        if len(journal.entries) == 1:
            raise ValueError

    with running_worker(retrying_broker):
        fail_once.send()
        journal.wait_for(2)
        wait_until_empty(connection)
    assert len(journal.entries) == 2


def test_a_message_over_its_age_limit_is_not_done(
    retrying_broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note", max_age=60_000)
    an_hour_ago = int(time.time() * 1000) - 3_600_000
    old = retrying_broker.enqueue(note.message("old").copy(message_timestamp=an_hour_ago))
    with running_worker(retrying_broker):
        wait_for_state(connection, old.message_id, "rejected")
        note.send("young")
        assert journal.wait_for(1) == ["young"]
        wait_for_state(connection, old.message_id, "rejected")
    assert journal.entries == ["young"]


def test_a_job_over_its_time_limit_is_interrupted(
    retrying_broker: LeaseBroker, connection: Connection
) -> None:
    @dramatiq.actor(time_limit=200, max_retries=0)
    def linger() -> None:
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            time.sleep(0.01)

    retrying_broker.emit_after("process_boot")
    with running_worker(retrying_broker):
        sent = linger.send()
        wait_for_state(connection, sent.message_id, "rejected")
    row = row_of(connection, sent.message_id)
    assert row is not None
    assert "TimeLimitExceeded" in row["message"]["options"]["traceback"]


def test_a_job_that_asks_to_be_told_of_a_shutdown_is_and_comes_again(
    retrying_broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()

    @dramatiq.actor(notify_shutdown=True)
    def linger() -> None:
        journal.write("began")
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            time.sleep(0.01)

    with running_worker(retrying_broker):
        linger.send()
        journal.wait_for(1)
    (row,) = rows(connection)
    assert row["state"] == "queued"
    assert row["owner"] is None
    assert "Shutdown" in row["message"]["options"]["traceback"]


class Signals(Middleware):
    """Writes down every signal about messages."""

    def __init__(self) -> None:
        self.journal = Journal()

    def _note(self, signal: str, message: Any) -> None:
        self.journal.write((signal, message.message_id))

    def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        self._note("before_enqueue", message)

    def after_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        self._note("after_enqueue", message)

    def before_process_message(self, broker: Any, message: Any) -> None:
        self._note("before_process", message)

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        self._note("after_process", message)

    def before_ack(self, broker: Any, message: Any) -> None:
        self._note("before_ack", message)

    def after_ack(self, broker: Any, message: Any) -> None:
        self._note("after_ack", message)

    def before_nack(self, broker: Any, message: Any) -> None:
        self._note("before_nack", message)

    def after_nack(self, broker: Any, message: Any) -> None:
        self._note("after_nack", message)

    def of(self, message_id: str) -> list[str]:
        return [signal for signal, who in self.journal.entries if who == message_id]


def test_middlewares_hear_each_signal_of_a_message_once(broker: LeaseBroker, connection: Connection) -> None:
    signals = Signals()
    broker.add_middleware(signals)
    note = dramatiq.actor(lambda: None, actor_name="note")
    with running_worker(broker):
        plain = note.send()
        delayed = note.send_with_options(delay=50)
        with connection, connection.cursor() as tx:
            joined = note.message()
            broker.enqueue_in(tx, joined)
        wait_until_empty(connection)
    for message in (plain, delayed, joined):
        heard = signals.of(message.message_id)
        assert heard[0] == "before_enqueue"
        assert sorted(heard) == sorted(
            [
                "before_enqueue",
                "after_enqueue",
                "before_process",
                "after_process",
                "before_ack",
                "after_ack",
            ]
        )


def test_middlewares_hear_of_a_rejected_message_instead_of_an_acknowledged_one(
    broker: LeaseBroker, connection: Connection
) -> None:
    signals = Signals()
    broker.add_middleware(signals)

    @dramatiq.actor
    def fail() -> None:
        raise ValueError("out of luck")

    with running_worker(broker):
        sent = fail.send()
        wait_for_state(connection, sent.message_id, "rejected")
    assert signals.of(sent.message_id)[2:] == ["before_process", "after_process", "before_nack", "after_nack"]


def test_there_is_no_queue_for_delayed_messages(broker: LeaseBroker, connection: Connection) -> None:
    heard: list[str] = []

    class Declared(Middleware):
        def after_declare_delay_queue(self, broker: Any, queue_name: str) -> None:
            heard.append(queue_name)

    broker.add_middleware(Declared())
    dramatiq.actor(lambda: None, actor_name="note")
    assert heard == []
    assert broker.get_declared_delay_queues() == set()
