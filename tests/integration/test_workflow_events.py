"""The log of a run and what its followers are told of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.platform import Seeded
from app.local.workflows import enqueue_workflow_run, make_workflow
from app.platform.run_events import RunEvent, RunEventType, event_parameters
from app.platform.workflows import NodeWrite, RunHold, finish_run
from tests.integration.workflow_rows import BOTH_PLATFORMS, follower_of, hold_of, must_claim, rows
from tests.sql import call


@pytest.fixture
def workflow_id(connection: Connection, seeded: Seeded) -> UUID:
    return make_workflow(connection).workflow_id


@pytest.fixture
def hold(jobs_database: Database, connection: Connection, workflow_id: UUID) -> RunHold:
    enqueue_workflow_run(connection, workflow_id)
    return hold_of(must_claim(jobs_database))


def started(number: int, **payload: Any) -> RunEvent:
    return RunEvent(type=RunEventType.NODE_STARTED, payload={"nodeId": f"n{number}", **payload})


def log_of(connection: Connection, run_id: UUID) -> list[dict[str, Any]]:
    return rows(
        connection, "SELECT * FROM lenses.workflow_run_events WHERE run_id = %s ORDER BY event_id", run_id
    )


def told(connection: Connection) -> list[dict[str, Any]]:
    return rows(connection, "SELECT * FROM realtime.messages ORDER BY (payload ->> 'eventId')::bigint")


def numbers_told(connection: Connection) -> list[int]:
    """The numbers of all events that went out, coalesced or not, in the order in which they were written."""
    found: list[int] = []
    for message in rows(connection, "SELECT event, payload FROM realtime.messages ORDER BY ctid"):
        inner = message["payload"]["events"] if message["event"] == "run.events" else [message["payload"]]
        found.extend(envelope["eventId"] for envelope in inner)
    return found


@BOTH_PLATFORMS
def test_followers_get_the_envelope_on_the_runs_channel(
    jobs_database: Database, connection: Connection, hold: RunHold, workflow_id: UUID
) -> None:
    hold.save(jobs_database, [], [started(1), started(2)])
    first, second = told(connection)
    assert first["topic"] == f"workflow-run-{hold.run_id}"
    assert (first["event"], first["private"], first["extension"]) == ("node.started", False, "broadcast")
    envelope = first["payload"]
    assert (envelope["eventId"], envelope["sequence"], envelope["type"]) == (1, 1, "node.started")
    assert (envelope["runId"], envelope["workflowId"]) == (str(hold.run_id), str(workflow_id))
    assert envelope["payload"] == {"nodeId": "n1"}
    assert envelope["timestamp"].endswith("Z")
    assert second["payload"]["eventId"] == 2
    assert [row["event_id"] for row in log_of(connection, hold.run_id)] == [1, 2]


def test_events_and_the_state_they_tell_of_come_together_or_not_at_all(
    jobs_database: Database, connection: Connection, hold: RunHold
) -> None:
    with pytest.raises(ZeroDivisionError), jobs_database.transaction() as tx:
        tx.execute(
            "SELECT worker.append_run_events(%s, %s::jsonb[])", (hold.run_id, event_parameters([started(1)]))
        )
        raise ZeroDivisionError
    assert log_of(connection, hold.run_id) == []
    assert told(connection) == []
    assert follower_of(jobs_database, hold.run_id).messages == 0


def test_numbers_have_no_gap_whoever_writes_at_once(
    jobs_database: Database, connection: Connection, hold: RunHold
) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: hold.save(jobs_database, [], [started(number)]), range(30)))
    assert [row["event_id"] for row in log_of(connection, hold.run_id)] == list(range(1, 31))
    # Rows of several sessions lie in any order.
    assert sorted(numbers_told(connection)) == list(range(1, 31))


@pytest.mark.parametrize("values", [{"output": "x" * 300_000}, {f"k{n}": "y" * 1_000 for n in range(400)}])
def test_a_large_value_becomes_a_reference(
    jobs_database: Database, connection: Connection, hold: RunHold, values: dict[str, str]
) -> None:
    hold.save(jobs_database, [], [started(1, **values)])
    (message,) = told(connection)
    assert call(connection, "SELECT max(octet_length(payload::text)) FROM realtime.messages") < 256_000
    payload = message["payload"]["payload"]
    assert payload["nodeId"] == "n1"
    reference = payload.get("output", payload)["reference"]
    assert (reference["table"], reference["nodeId"]) == ("lenses.workflow_node_results", "n1")
    assert reference["bytes"] > 256_000


def test_above_the_limit_events_are_told_together_and_none_is_lost(
    jobs_database: Database, connection: Connection, hold: RunHold
) -> None:
    hold.save(jobs_database, [], [started(0)])
    full = "window_messages = 50, window_began_at = clock_timestamp() + interval '1 hour'"
    rows(connection, f"UPDATE worker.run_channels SET {full}")
    for number in range(1, 120):
        hold.save(jobs_database, [], [started(number, filler="z" * 2_000)])
    with jobs_database.transaction() as tx:
        finish_run(tx, hold.run_id, "completed", events=[RunEvent(type=RunEventType.RUN_COMPLETED)])
    assert numbers_told(connection) == list(range(1, 122))
    assert follower_of(jobs_database, hold.run_id).messages < 15
    assert call(connection, "SELECT max(octet_length(payload::text)) FROM realtime.messages") < 256_000


def test_a_heartbeat_tells_what_a_burst_left(
    jobs_database: Database, connection: Connection, hold: RunHold
) -> None:
    hold.save(jobs_database, [], [started(1)])
    rows(
        connection, "UPDATE worker.run_channels SET window_messages = 50, window_began_at = clock_timestamp()"
    )
    hold.save(jobs_database, [], [started(2), started(3)])
    assert numbers_told(connection) == [1]
    rows(connection, "UPDATE worker.run_channels SET window_began_at = '-infinity'")
    hold.beat(jobs_database)
    assert numbers_told(connection) == [1, 2, 3]


@BOTH_PLATFORMS
def test_a_message_that_realtime_does_not_take_is_counted_and_harms_nothing(
    jobs_database: Database, connection: Connection, superuser: Connection, hold: RunHold
) -> None:
    rows(superuser, "ALTER TABLE realtime.messages ADD CHECK (event <> 'node.started')")
    node = next(iter(rows(connection, "SELECT id FROM lenses.workflow_nodes")))["id"]
    hold.save(jobs_database, [NodeWrite(node_id=node, status="completed")], [started(1)])
    hold.save(jobs_database, [], [RunEvent(type=RunEventType.NODE_COMPLETED)])
    follower = follower_of(jobs_database, hold.run_id)
    assert (follower.messages, follower.failures) == (2, 1)
    assert numbers_told(connection) == [2]
    assert [row["event_id"] for row in log_of(connection, hold.run_id)] == [1, 2]
    assert call(connection, "SELECT failures FROM worker.publication_failures") == 1


def test_without_realtime_there_is_the_log(
    jobs_database: Database, connection: Connection, superuser: Connection, hold: RunHold
) -> None:
    rows(superuser, "DROP SCHEMA realtime CASCADE")
    hold.save(jobs_database, [], [started(1)])
    assert len(log_of(connection, hold.run_id)) == 1
    assert follower_of(jobs_database, hold.run_id).failures == 0


def test_of_a_private_workflow_nothing_is_told_that_it_made(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    enqueue_workflow_run(connection, make_workflow(connection, visibility="private").workflow_id)
    hold = hold_of(must_claim(jobs_database))
    hold.save(jobs_database, [], [started(1, output="a secret", status="running")])
    assert told(connection)[0]["payload"]["payload"] == {"nodeId": "n1", "status": "running"}
    assert log_of(connection, hold.run_id)[0]["payload"]["output"] == "a secret"


def test_nul_in_an_event_is_replaced(jobs_database: Database, connection: Connection, hold: RunHold) -> None:
    hold.save(jobs_database, [], [started(1, text="a\x00b")])
    assert log_of(connection, hold.run_id)[0]["payload"]["text"] == "a\ufffdb"
