"""Run events that a worker sends over HTTP: in order, few at a time, and never in the way of a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.database import Database
from app.local.platform import Seeded
from app.local.workflows import enqueue_workflow_run, make_workflow
from app.platform.run_events import (
    RunEvent,
    RunEventType,
    settle_messages,
    take_messages,
)
from app.platform.workflows import RunHold, finish_run
from tests.doubles.broadcast_server import BroadcastServer
from tests.integration.conftest import running_worker
from tests.integration.workflow_rows import BOTH_PLATFORMS, follower_of, hold_of, must_claim, update
from tests.sql import call
from tests.waiting import eventually

KEY = "service-role-key-0123456789"


@pytest.fixture
def realtime(configure: Callable[..., None]) -> Iterator[BroadcastServer]:
    with BroadcastServer(KEY) as server:
        configure(
            SUPABASE_URL=server.url,
            SUPABASE_SERVICE_ROLE_KEY=KEY,
            WORKER_RUN_EVENT_TRANSPORT="rest",
        )
        yield server


@pytest.fixture
def hold(
    realtime: BroadcastServer, jobs_database: Database, connection: Connection, seeded: Seeded
) -> RunHold:
    call(connection, "SELECT worker.choose_run_event_transport('rest')")
    enqueue_workflow_run(connection, make_workflow(connection).workflow_id)
    return hold_of(must_claim(jobs_database))


@pytest.fixture
def worker(hold: RunHold, broker: LeaseBroker) -> Iterator[None]:
    with running_worker(broker, "actors.run_events"):
        yield


def started(number: int, **payload: Any) -> RunEvent:
    return RunEvent(type=RunEventType.NODE_STARTED, payload={"nodeId": f"n{number}", **payload})


def ended() -> RunEvent:
    return RunEvent(type=RunEventType.RUN_COMPLETED)


def await_event(realtime: BroadcastServer, event_id: int) -> None:
    eventually(lambda: event_id in [e["eventId"] for e in realtime.told], what=f"event {event_id}")


@BOTH_PLATFORMS
def test_followers_are_told_over_http_and_not_by_the_database(
    worker: None, jobs_database: Database, connection: Connection, realtime: BroadcastServer, hold: RunHold
) -> None:
    hold.save(jobs_database, [], [started(1), started(2)])
    await_event(realtime, 2)
    assert [message["topic"] for message in realtime.messages] == [f"workflow-run-{hold.run_id}"] * 2
    assert [(e["type"], e["eventId"]) for e in realtime.told] == [("node.started", 1), ("node.started", 2)]
    assert realtime.messages[0]["private"] is False
    assert realtime.headers[0]["authorization"] == f"Bearer {KEY}"
    assert call(connection, "SELECT count(*) FROM realtime.messages") == 0


def test_many_events_go_in_order_and_few_messages(
    worker: None, jobs_database: Database, realtime: BroadcastServer, hold: RunHold
) -> None:
    began = time.monotonic()
    for number in range(0, 600, 3):
        hold.save(jobs_database, [], [started(number + step) for step in range(3)])
    hold.save(jobs_database, [], [ended()])
    await_event(realtime, 601)
    assert [envelope["eventId"] for envelope in realtime.told] == list(range(1, 602))
    windows = math.ceil(time.monotonic() - began) + 1
    assert len(realtime.messages) <= 50 * windows + 1, "50 a second, and the end of the run waits for none"
    eventually(
        lambda: follower_of(jobs_database, hold.run_id).messages == len(realtime.messages), what="the count"
    )


@pytest.mark.parametrize("text", ["x" * 100_000, "ß" * 50_000], ids=["letters", "letters of two bytes"])
def test_large_values_become_references_over_http_too(
    worker: None, jobs_database: Database, realtime: BroadcastServer, hold: RunHold, text: str
) -> None:
    hold.save(jobs_database, [], [started(n, output={"text": text * 3}) for n in range(3)])
    hold.save(jobs_database, [], [started(n, output={"text": text}) for n in range(60)])
    hold.save(jobs_database, [], [ended()])
    await_event(realtime, 64)
    assert follower_of(jobs_database, hold.run_id).failures == 0
    assert "reference" in realtime.told[0]["payload"]["output"]


@pytest.mark.parametrize("status", [429, 503])
def test_what_realtime_could_not_take_for_a_moment_is_sent_again(
    worker: None, jobs_database: Database, realtime: BroadcastServer, hold: RunHold, status: int
) -> None:
    realtime.script.append(status)
    hold.save(jobs_database, [], [started(1)])
    await_event(realtime, 1)
    assert follower_of(jobs_database, hold.run_id).failures == 0


@pytest.mark.parametrize("statuses", [[401], [422], [500] * 3], ids=str)
def test_what_realtime_refuses_is_counted_and_stops_nothing(
    worker: None,
    jobs_database: Database,
    connection: Connection,
    realtime: BroadcastServer,
    hold: RunHold,
    statuses: list[int],
) -> None:
    realtime.script.extend(statuses)
    hold.save(jobs_database, [], [started(1), started(2)])
    eventually(lambda: follower_of(jobs_database, hold.run_id).failures == 2, what="the failures")
    hold.save(jobs_database, [], [started(3)])
    await_event(realtime, 3)
    assert [e["eventId"] for e in realtime.told] == [3]
    assert call(connection, "SELECT failures FROM worker.publication_failures") == 2


def test_a_service_that_is_not_there_costs_a_run_nothing(
    jobs_database: Database, realtime: BroadcastServer, hold: RunHold, worker: None
) -> None:
    realtime.__exit__()
    with jobs_database.transaction() as tx:
        assert finish_run(tx, hold.run_id, "completed", events=[ended()])
    eventually(lambda: follower_of(jobs_database, hold.run_id).failures == 1, what="the failure")


def test_one_process_at_a_time_sends_for_a_run(
    jobs_database: Database, connection: Connection, hold: RunHold
) -> None:
    hold.save(jobs_database, [], [started(1)])
    first = take_messages(jobs_database, hold.run_id)
    assert first.state == "ready"
    hold.save(jobs_database, [], [started(2)])
    assert take_messages(jobs_database, hold.run_id).state == "busy"
    settle_messages(jobs_database, hold.run_id, first.sender, 0)
    assert take_messages(jobs_database, hold.run_id).state == "ready"


def test_a_sender_that_outlives_its_lease_leaves_the_turn_to_the_next_one(
    jobs_database: Database, connection: Connection, hold: RunHold
) -> None:
    hold.save(jobs_database, [], [started(1)])
    late = take_messages(jobs_database, hold.run_id)
    call(connection, "UPDATE worker.run_channels SET sending_until = now() RETURNING 1")
    hold.save(jobs_database, [], [started(2)])
    next_one = take_messages(jobs_database, hold.run_id)
    assert [message.event for message in next_one.messages] == ["node.started"]
    settle_messages(jobs_database, hold.run_id, late.sender, 1)
    hold.save(jobs_database, [], [started(3)])
    assert take_messages(jobs_database, hold.run_id).state == "busy"
    assert follower_of(jobs_database, hold.run_id).failures == 1
    settle_messages(jobs_database, hold.run_id, next_one.sender, 0)
    assert take_messages(jobs_database, hold.run_id).state == "ready"


def test_a_run_that_the_platform_ends_is_told_of_too(
    worker: None, connection: Connection, realtime: BroadcastServer, hold: RunHold
) -> None:
    update(connection, "lenses.workflow_runs", hold.run_id, status="cancelled")
    await_event(realtime, 2)
    assert [envelope["type"] for envelope in realtime.told] == ["run.cancelled", "run.status.changed"]
    assert realtime.told[1]["payload"]["status"] == "cancelled"


def test_no_followers_are_told_where_that_is_off(
    jobs_database: Database, connection: Connection, hold: RunHold
) -> None:
    call(connection, "SELECT worker.choose_run_event_transport('off')")
    hold.save(jobs_database, [], [started(1)])
    assert call(connection, "SELECT count(*) FROM realtime.messages") == 0
    assert call(connection, "SELECT count(*) FROM lenses.workflow_run_events") == 1
    assert messages_for(connection, hold.run_id) == 0


def messages_for(connection: Connection, run_id: UUID) -> int:
    waiting = "SELECT count(*) FROM dramatiq.queue WHERE message #>> '{kwargs,run}' = %s"
    return int(call(connection, waiting, str(run_id)))
