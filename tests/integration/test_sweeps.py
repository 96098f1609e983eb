"""Ticks of sweeps: done once, whoever sends them and however late."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import uuid4

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.errors import DatabaseAway
from app.local.platform import Seeded, enqueue_lens_run
from app.sweeps import Missed, sweep
from tests.integration.conftest import import_afresh, running_worker
from tests.sql import call
from tests.waiting import eventually


@pytest.fixture
def done() -> list[str]:
    """What the sweeps of a test have done, in order."""
    return []


def ten_minutes_ago(connection: Connection) -> str:
    """A timetable whose last slot was ten minutes ago."""
    now: datetime = call(connection, "SELECT now() AT TIME ZONE 'UTC'")
    slot = now - timedelta(minutes=10)
    return f"{slot.minute} {slot.hour} * * *"


def send_and_wait(
    broker: LeaseBroker, connection: Connection, actor: dramatiq.Actor[[], None], times: int
) -> None:
    for _ in range(times):
        actor.send()
    with running_worker(broker):
        eventually(lambda: call(connection, "SELECT count(*) FROM dramatiq.queue") == 0, what="every message")


def test_a_tick_that_several_schedulers_send_is_done_once(
    broker: LeaseBroker, connection: Connection, done: list[str]
) -> None:
    @sweep(ten_minutes_ago(connection), missed=Missed.CATCH_UP_ONCE)
    def tidy() -> None:
        done.append("tidied")

    send_and_wait(broker, connection, tidy, times=6)
    assert done == ["tidied"]
    assert call(connection, "SELECT count(*) FROM worker.ticks WHERE finished_at IS NOT NULL") == 1


def test_a_slot_that_no_scheduler_was_there_for_is_made_up_for_months_later(
    broker: LeaseBroker, connection: Connection, done: list[str]
) -> None:
    missed: datetime = call(connection, "SELECT now() AT TIME ZONE 'UTC'") - timedelta(days=100)

    @sweep(f"{missed.minute} {missed.hour} {missed.day} {missed.month} *", missed=Missed.CATCH_UP_ONCE)
    def settle() -> None:
        done.append("settled")

    send_and_wait(broker, connection, settle, times=3)
    assert done == ["settled"]
    assert call(connection, "SELECT slot::date FROM worker.ticks") == missed.date()


def test_a_sweep_that_skips_what_it_missed_waits_for_its_next_slot(
    broker: LeaseBroker, connection: Connection, done: list[str]
) -> None:
    @sweep(ten_minutes_ago(connection), missed=Missed.SKIP)
    def report() -> None:
        done.append("reported")

    send_and_wait(broker, connection, report, times=3)
    assert done == []


def test_a_sweep_that_gets_no_connection_is_done_a_little_later(
    broker: LeaseBroker, connection: Connection, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.sweeps.RETRY_MS", 1)

    @sweep("* * * * *", missed=Missed.SKIP)
    def look() -> None:
        done.append("looked")
        if len(done) == 1:
            raise DatabaseAway("no database connection became free within 5 s")

    look.send_with_options(kwargs={"off_timetable": True})
    with running_worker(broker):
        eventually(lambda: call(connection, "SELECT count(*) FROM dramatiq.queue") == 0, what="its end")
    assert done == ["looked", "looked"]


def test_the_slot_of_this_minute_is_never_skipped(
    broker: LeaseBroker, connection: Connection, done: list[str]
) -> None:
    @sweep("* * * * *", missed=Missed.SKIP)
    def look() -> None:
        done.append("looked")

    send_and_wait(broker, connection, look, times=1)
    assert done == ["looked"]


def test_a_tick_whose_worker_died_is_done_by_the_same_message_only(connection: Connection) -> None:
    message, other = uuid4(), uuid4()
    slot = call(connection, "SELECT date_trunc('minute', now())")
    begin = "SELECT worker.begin_tick('tidy', %s, %s)"
    assert call(connection, begin, slot, message) == slot
    assert call(connection, begin, slot, other) is None
    assert call(connection, begin, slot, message) == slot
    later = slot + timedelta(minutes=1)
    assert call(connection, begin, later, message) == slot
    call(connection, "SELECT worker.finish_tick(%s)", message)
    assert call(connection, begin, slot, message) is None


def test_ticks_are_kept_for_two_days_and_the_newest_for_ever(connection: Connection) -> None:
    begin = "SELECT worker.begin_tick('tidy', now() - %s * interval '1 day', gen_random_uuid())"
    for days in (40, 30, 1, 0):
        assert call(connection, begin, days) is not None
    assert call(connection, "SELECT count(*) FROM worker.ticks") == 2


def test_a_kind_whose_jobs_can_not_be_counted_leaves_the_others_their_tickets(
    broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    call(connection, "DELETE FROM dramatiq.queue RETURNING 1")
    call(
        connection,
        "UPDATE worker.kinds SET count_claimable = 'SELECT 1 / 0' WHERE kind = 'battle_job' RETURNING 1",
    )
    (module,) = import_afresh("schedules.sweeps")
    module.add_missing_tickets.send(off_timetable=True)
    sweeps = "SELECT count(*) FROM dramatiq.queue WHERE queue_name = 'sweeps'"
    with running_worker(broker):
        eventually(lambda: call(connection, sweeps) == 0, what="the end of the sweep")
    tickets = "SELECT count(*) FROM dramatiq.queue WHERE queue_name = 'lens_runs' AND state = 'queued'"
    assert call(connection, tickets) == 1
