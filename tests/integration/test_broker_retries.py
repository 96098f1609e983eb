"""Messages that are tried again: under their own id, and before the failed delivery is acknowledged."""

from __future__ import annotations

import random
from collections import Counter

import dramatiq
from dramatiq.middleware import CurrentMessage
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from tests.integration.broker_rows import (
    Gate,
    Journal,
    state_of,
    wait_for_state,
    wait_until_empty,
)
from tests.integration.conftest import running_worker


def retries_so_far() -> int:
    message = CurrentMessage.get_current_message()
    assert message is not None
    return int(message.options.get("retries", 0))


def test_a_retry_whose_reason_postgres_can_not_hold_is_not_lost(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()

    @dramatiq.actor
    def again() -> None:
        journal.write(retries_so_far())
        if retries_so_far() == 0:
            raise dramatiq.Retry("a\0b", delay=0)

    with running_worker(broker):
        again.send()
        assert journal.wait_for(2) == [0, 1]
        wait_until_empty(connection)


def test_messages_that_are_tried_again_under_their_id_all_succeed_once(
    broker: LeaseBroker, connection: Connection
) -> None:
    """A retry is sent under the message's own id before the delivery that failed is acknowledged."""
    chance = random.Random(20)
    retries = [chance.choice([0, 0, 1, 2, 3, 5]) for _ in range(300)]
    began, succeeded = Journal(), Journal()

    @dramatiq.actor
    def again(number: int, retries: int) -> None:
        began.write(number)
        if retries_so_far() < retries:
            raise dramatiq.Retry(delay=0)
        succeeded.write(number)

    with running_worker(broker, threads=8):
        with connection, connection.cursor() as tx:
            broker.enqueue_in(tx, *[again.message(number, count) for number, count in enumerate(retries)])
        succeeded.wait_for(len(retries))
        wait_until_empty(connection)
    assert Counter(succeeded.entries) == Counter(range(len(retries)))
    assert Counter(began.entries) == Counter({number: count + 1 for number, count in enumerate(retries)})


def test_the_acknowledgement_of_a_failed_try_does_not_end_the_next_one(
    broker: LeaseBroker, connection: Connection
) -> None:
    gate = Gate()

    @dramatiq.actor
    def again() -> None:
        if retries_so_far() == 0:
            raise dramatiq.Retry(delay=0)
        gate.pass_through()

    note = dramatiq.actor(lambda: None, actor_name="note")
    with running_worker(broker):
        sent = again.send()
        gate.wait_for(1)
        # Endings are written in order: when this one is, the one of the first try has been.
        wait_for_state(connection, note.send().message_id, None)
        assert state_of(connection, sent.message_id) == "consumed"
        gate.open()
        wait_until_empty(connection)
