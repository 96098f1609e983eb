"""Rows that are no messages: they become dead letters with a log line, and nobody else notices."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import dramatiq
import pytest
from dramatiq.middleware import CurrentMessage
from psycopg2.extensions import connection as Connection  # noqa: N812
from structlog.testing import capture_logs

from app.broker import LeaseBroker
from tests.integration.broker_rows import Journal, rows, wait_for_state, wait_until_empty
from tests.integration.conftest import running_worker

WELL_FORMED: dict[str, Any] = {
    "queue_name": "default",
    "actor_name": "note",
    "args": ["garbage"],
    "kwargs": {},
    "options": {},
    "message_timestamp": 1_700_000_000_000,
}


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in WELL_FORMED.items() if name != field}


UNREADABLE: dict[str, Any] = {
    "JSON null": None,
    "a list": [],
    "a text": "text",
    "a number": 7,
    "an empty object": {},
    "an object of nothing known": {"a": 1},
    "an id only": {"message_id": "ROW"},
    "an id that is none": {"message_id": "nope"},
    "an id of another kind": {"message_id": {"a": [1]}},
    "no actor": without("actor_name"),
    "arguments that are a number": WELL_FORMED | {"args": 5},
    "options that are null": WELL_FORMED | {"options": None},
    "options that are a list": WELL_FORMED | {"options": ["eta"]},
    "an actor that is a list": WELL_FORMED | {"actor_name": ["note"]},
    "an actor that is null": WELL_FORMED | {"actor_name": None},
    "an actor that nobody knows": WELL_FORMED | {"actor_name": "no\n%s\u202e"},
    "keyword arguments that are a list": WELL_FORMED | {"kwargs": ["a"]},
    "keyword arguments that are null": WELL_FORMED | {"kwargs": None},
    "a time that is none": WELL_FORMED | {"message_timestamp": "soon"},
    "a time beyond any float": WELL_FORMED | {"message_timestamp": "BEYOND"},
}

READABLE: dict[str, Any] = {
    "another row's id": WELL_FORMED | {"message_id": "a2b1f8a0-0000-4000-8000-000000000000"},
    "an id that is none": WELL_FORMED | {"message_id": "nope"},
    "an id that is a number": WELL_FORMED | {"message_id": 7},
    "an id that is null": WELL_FORMED | {"message_id": None},
    "no id": WELL_FORMED,
    "another queue": WELL_FORMED | {"queue_name": ["elsewhere"]},
    "one field too many": WELL_FORMED | {"more": 1},
    "no options": without("options"),
}


def put(session: Connection, message: Any) -> str:
    """Write a row as anybody could; the id of the row."""
    row_id = str(uuid4())
    session.cursor().execute(
        "INSERT INTO dramatiq.queue (message_id, message) VALUES (%s, %s)",
        (row_id, json.dumps(message).replace("ROW", row_id).replace('"BEYOND"', "9" * 400 + ".5")),
    )
    return row_id


@pytest.mark.parametrize("message", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_row_that_is_no_message_becomes_a_dead_letter_and_holds_up_nobody(
    message: Any, broker: LeaseBroker, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with capture_logs() as logged:
        row_id = put(connection, message)
        with running_worker(broker):
            good = note.send("good")
            assert "good" in journal.wait_for(1)
            wait_for_state(connection, row_id, "rejected")
            wait_for_state(connection, good.message_id, None)
    assert journal.entries == ["good"]
    (row,) = rows(connection)
    assert (row["message_id"], row["owner"]) == (row_id, None)
    told = [line for line in logged if line["log_level"] == "error"]
    told += [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]
    assert told


def test_a_row_without_any_message_becomes_a_dead_letter(broker: LeaseBroker, connection: Connection) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    row_id = str(uuid4())
    connection.cursor().execute("INSERT INTO dramatiq.queue (message_id) VALUES (%s)", (row_id,))
    with capture_logs() as logged, running_worker(broker):
        wait_for_state(connection, row_id, "rejected")
        note.send("good")
        assert journal.wait_for(1) == ["good"]
    assert [line["id"] for line in logged if line["log_level"] == "error"] == [row_id]


@pytest.mark.parametrize("message", READABLE.values(), ids=READABLE.keys())
def test_a_message_is_done_once_under_the_id_and_queue_of_its_row(
    message: Any, broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()

    @dramatiq.actor
    def note(text: str) -> None:
        current = CurrentMessage.get_current_message()
        assert current is not None
        journal.write((current.message_id, current.queue_name, text))

    row_id = put(connection, message)
    with running_worker(broker):
        wait_until_empty(connection)
    assert journal.entries == [(row_id, "default", "garbage")]


def test_a_message_in_a_delay_queue_without_a_due_time_is_not_forgotten(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    message = note.message("early")
    connection.cursor().execute(
        "INSERT INTO dramatiq.queue (message_id, queue_name, message) VALUES (%s, 'default.DQ', %s)",
        (message.message_id, message.encode().decode()),
    )
    with running_worker(broker):
        assert journal.wait_for(1) == ["early"]


def test_a_queue_full_of_garbage_is_cleared_and_the_rest_is_done(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    connection.cursor().execute(
        "INSERT INTO dramatiq.queue (message_id, message)"
        " SELECT id, jsonb_build_object('message_id', id) FROM"
        " (SELECT gen_random_uuid() AS id FROM generate_series(1, 100)) AS ids"
    )
    with running_worker(broker):
        good = note.send("good")
        assert journal.wait_for(1) == ["good"]
        wait_for_state(connection, good.message_id, None)
    assert [row["state"] for row in rows(connection)] == ["rejected"] * 100
