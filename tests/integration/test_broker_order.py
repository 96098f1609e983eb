"""Which message is next, and how the queues of a process share its threads."""

from __future__ import annotations

import time
from collections import Counter

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker, QueuePolicy
from app.database import Database
from app.settings import settings
from tests.integration.broker_rows import Gate, Journal, rows, wait_until_empty
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

#: Longer than what counts as a short job, so that nothing is taken ahead of its turn.
JOB_SECONDS = 0.03


def broker_with(database: Database, **policies: QueuePolicy) -> LeaseBroker:
    built = LeaseBroker(database, settings(), policies=policies)
    dramatiq.set_broker(built)
    return built


def writing_actor(journal: Journal, queue: str, *, seconds: float = JOB_SECONDS) -> dramatiq.Actor[..., None]:
    def write(number: int = 0) -> None:
        journal.write((queue, number))
        time.sleep(seconds)

    return dramatiq.actor(write, actor_name=f"write_{queue}", queue_name=queue)


def test_a_queue_is_done_in_the_order_of_due_times(jobs_database: Database, connection: Connection) -> None:
    broker = broker_with(jobs_database)
    journal = Journal()
    write = writing_actor(journal, "plain")
    for number in range(12):
        write.send(number)
    connection.cursor().execute(
        "UPDATE dramatiq.queue SET mtime = mtime - interval '1 hour'"
        " WHERE (message -> 'args' ->> 0)::integer IN (7, 3)"
    )
    with running_worker(broker, threads=1):
        journal.wait_for(12)
    assert [number for _, number in journal.entries] == [3, 7, 0, 1, 2, 4, 5, 6, 8, 9, 10, 11]


def test_a_queue_with_a_handicap_waits_for_those_without(
    jobs_database: Database, connection: Connection
) -> None:
    broker = broker_with(
        jobs_database, aaa=QueuePolicy(handicap_ms=60_000), mmm=QueuePolicy(handicap_ms=30_000)
    )
    journal = Journal()
    for queue in ("aaa", "mmm", "zzz"):
        write = writing_actor(journal, queue)
        for number in range(3):
            write.send(number)
    with running_worker(broker, threads=1):
        journal.wait_for(9)
    assert journal.entries == [(queue, number) for queue in ("zzz", "mmm", "aaa") for number in range(3)]


def test_a_message_that_waited_longer_than_its_handicap_goes_first(
    jobs_database: Database, connection: Connection
) -> None:
    broker = broker_with(jobs_database, slow=QueuePolicy(handicap_ms=60_000))
    journal = Journal()
    for queue in ("slow", "fast"):
        write = writing_actor(journal, queue)
        for number in range(3):
            write.send(number)
    connection.cursor().execute(
        "UPDATE dramatiq.queue SET mtime = mtime - interval '61 seconds'"
        " WHERE queue_name = 'slow' AND (message -> 'args' ->> 0)::integer = 2"
    )
    with running_worker(broker, threads=1):
        journal.wait_for(6)
    assert journal.entries == [("slow", 2), ("fast", 0), ("fast", 1), ("fast", 2), ("slow", 0), ("slow", 1)]


def test_no_queue_starves_while_another_never_runs_dry(
    jobs_database: Database, connection: Connection
) -> None:
    broker = broker_with(jobs_database, slow=QueuePolicy(handicap_ms=400))
    journal = Journal()
    slow = writing_actor(journal, "slow")

    @dramatiq.actor(queue_name="fast")
    def endless() -> None:
        journal.write(("fast", time.monotonic()))
        time.sleep(JOB_SECONDS)
        if ("slow", 0) not in journal.entries:
            endless.send()
            endless.send()

    with running_worker(broker, threads=2):
        endless.send()
        journal.wait_for(10)
        slow.send(0)
        wait_until_empty(connection)
    assert ("slow", 0) in journal.entries
    assert Counter(queue for queue, _ in journal.entries)["fast"] > 10


def test_short_jobs_start_while_long_ones_fill_their_share(
    jobs_database: Database, connection: Connection
) -> None:
    broker = broker_with(jobs_database, long=QueuePolicy(leave_free=1))
    gate, journal = Gate(), Journal()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold", queue_name="long")
    write = writing_actor(journal, "short", seconds=0)
    with running_worker(broker, threads=4):
        for _ in range(20):
            hold.send()
        gate.wait_for(3)
        for number in range(10):
            write.send(number)
            journal.wait_for(number + 1)
        assert gate.most == 3
        gate.open()
        wait_until_empty(connection)
    assert gate.most == 3


@pytest.mark.parametrize(
    ("policy", "most"),
    [
        (QueuePolicy(max_in_flight=2), 2),
        (QueuePolicy(max_in_flight=100), 4),
        (QueuePolicy(leave_free=3), 1),
        (QueuePolicy(leave_free=100), 1),
        (QueuePolicy(max_in_flight=3, leave_free=2), 2),
    ],
)
def test_a_queue_uses_as_many_threads_as_its_policy_says(
    policy: QueuePolicy, most: int, jobs_database: Database, connection: Connection
) -> None:
    broker = broker_with(jobs_database, capped=policy)
    gate, journal = Gate(), Journal()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold", queue_name="capped")
    other = writing_actor(journal, "other", seconds=0)
    with running_worker(broker, threads=4):
        for _ in range(8):
            hold.send()
        gate.wait_for(most)
        if most < 4:
            other.send(1)
            journal.wait_for(1)
        held = [
            row for row in rows(connection) if (row["queue_name"], row["state"]) == ("capped", "consumed")
        ]
        assert len(held) == most
        gate.open()
        wait_until_empty(connection)
    assert gate.most <= most


def test_a_queue_keeps_to_its_policy_after_a_run_of_short_jobs(
    jobs_database: Database, connection: Connection
) -> None:
    broker = broker_with(jobs_database, capped=QueuePolicy(max_in_flight=2))
    gate, journal = Gate(), Journal()
    short = writing_actor(journal, "capped", seconds=0)
    hold = dramatiq.actor(gate.pass_through, actor_name="hold", queue_name="capped")
    other = writing_actor(journal, "other", seconds=0)
    with running_worker(broker, threads=4):
        for number in range(30):
            short.send(number)
        journal.wait_for(30)
        for _ in range(8):
            hold.send()
        gate.wait_for(2)
        try:
            for number in range(3):
                other.send(number)
            journal.wait_for(33)
        finally:
            gate.open()
        wait_until_empty(connection)
    assert gate.most == 2


@pytest.mark.environment(WORKER_BROKER_LEASE_SECONDS="1")
def test_a_message_below_the_floor_of_its_queue_is_found_with_the_next_lease(
    jobs_database: Database, connection: Connection
) -> None:
    """As from a transaction that was open for long: its messages are older than what was done meanwhile."""
    broker = broker_with(jobs_database)
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note", queue_name="floored")
    with running_worker(broker):
        note.send("new")
        journal.wait_for(1)
        floor = "SELECT floor FROM worker.queue_floors WHERE queue_name = 'floored'"
        eventually(lambda: call(connection, floor), what="a floor")
        sent = note.message("old")
        with connection, connection.cursor() as tx:
            broker.enqueue_in(tx, sent, delay_ms=-3_600_000)  # an hour ago
        assert journal.wait_for(2) == ["new", "old"]
