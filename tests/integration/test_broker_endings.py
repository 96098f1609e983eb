"""How deliveries end in the table: once, and only for the delivery that is meant."""

from __future__ import annotations

import logging

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from tests.integration.broker_rows import (
    Gate,
    Journal,
    another_broker,
    row_of,
    rows,
    state_of,
    wait_for_state,
    wait_until_empty,
)
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually


def give_to_nobody(session: Connection) -> None:
    """What happens when a lease runs out: all that is held is free for others, at once."""
    with session, session.cursor() as tx:
        tx.execute("DELETE FROM worker.processes")
        tx.execute("SELECT worker.rescue_messages()")


def test_a_finished_message_leaves_the_table(broker: LeaseBroker, connection: Connection) -> None:
    note = dramatiq.actor(lambda: None, actor_name="note")
    with running_worker(broker):
        for _ in range(20):
            note.send()
        wait_until_empty(connection)
    assert rows(connection) == []


def test_a_failed_message_stays_as_a_dead_letter_with_its_traceback(
    broker: LeaseBroker, connection: Connection
) -> None:
    @dramatiq.actor
    def fail(who: str) -> None:
        raise ValueError(f"no luck for {who}")

    with running_worker(broker):
        sent = fail.send(who="ß😀")
        wait_for_state(connection, sent.message_id, "rejected")
    row = row_of(connection, sent.message_id)
    assert row is not None
    assert row["owner"] is None
    assert row["message"]["kwargs"] == {"who": "ß😀"}
    assert "ValueError: no luck for ß😀" in row["message"]["options"]["traceback"]
    assert row["mtime"] <= call(connection, "SELECT now()")


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["NUL", "half a surrogate pair"])
def test_an_error_text_that_postgres_can_not_hold_does_not_hold_up_other_endings(
    text: str, broker: LeaseBroker, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half a pair in a captured line can't be sent from one of pytest's processes to the other either.
    monkeypatch.setattr(logging.getLogger("dramatiq"), "propagate", False)
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")

    @dramatiq.actor
    def fail() -> None:
        raise ValueError(text)

    with running_worker(broker):
        bad = fail.send()
        eventually(lambda: (row_of(connection, bad.message_id) or {}).get("deliveries"), what="a delivery")
        good = note.send("next")
        journal.wait_for(1)
        wait_for_state(connection, good.message_id, None)
        wait_for_state(connection, bad.message_id, "rejected")
    assert journal.entries == ["next"]
    (left,) = rows(connection)
    assert (left["message_id"], left["owner"], left["deliveries"]) == (bad.message_id, None, 1)
    last_line = left["message"]["options"]["traceback"].splitlines()[-1]
    assert last_line == "ValueError: a\ufffdb"


def test_a_late_acknowledgement_does_not_end_a_newer_delivery_of_the_same_process(
    broker: LeaseBroker, connection: Connection
) -> None:
    gates = [Gate(), Gate()]
    starts = Journal()

    @dramatiq.actor
    def hold() -> None:
        starts.write("began")
        gates[len(starts.entries) - 1].pass_through()

    note = dramatiq.actor(lambda: None, actor_name="note")
    with running_worker(broker, threads=3):
        sent = hold.send()
        gates[0].wait_for(1)
        give_to_nobody(connection)
        gates[1].wait_for(1)
        gates[0].open()
        wait_for_state(connection, note.send().message_id, None)
        row = row_of(connection, sent.message_id)
        assert row is not None
        assert (row["state"], row["deliveries"]) == ("consumed", 2)
        gates[1].open()
        wait_until_empty(connection)


@pytest.mark.parametrize("ending", ["done", "failed", "retried"])
def test_a_late_ending_leaves_another_process_delivery_alone(
    ending: str, broker: LeaseBroker, connection: Connection
) -> None:
    first, second = Gate(), Gate()

    def late() -> None:
        first.pass_through()
        if ending == "failed":
            raise ValueError
        if ending == "retried":
            raise dramatiq.Retry(delay=60_000)

    hold = dramatiq.actor(late, actor_name="hold")
    with another_broker() as other:
        dramatiq.actor(second.pass_through, actor_name="hold", broker=other)
        with running_worker(broker, threads=1):
            sent = hold.send()
            first.wait_for(1)
            with running_worker(other, threads=1):
                give_to_nobody(connection)
                second.wait_for(1)
                note = dramatiq.actor(lambda: None, actor_name="note", queue_name="only_here")
                marker = note.send()
                first.open()
                wait_for_state(connection, marker.message_id, None)
                assert state_of(connection, sent.message_id) == "consumed"
                second.open()
                wait_until_empty(connection)
