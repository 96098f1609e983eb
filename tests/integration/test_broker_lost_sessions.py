"""Sessions that the server ends: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing

import dramatiq
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from structlog.testing import capture_logs

from app.broker import LeaseBroker
from app.broker.sessions import SessionThread
from tests.databases import connect_as_worker
from tests.integration.broker_rows import (
    Gate,
    Journal,
    end_sessions,
    rows,
    sessions,
    wait_until_empty,
)
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lf-worker finisher'"
    " AND datname = current_database() AND wait_event_type = 'Lock'"
)


def test_an_acknowledgement_survives_the_loss_of_its_session(
    broker: LeaseBroker, connection: Connection, dsn: str
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker), closing(connect_as_worker(dsn)) as blocker:
        blocker.autocommit = False
        gate = Gate()
        hold = dramatiq.actor(gate.pass_through, actor_name="hold")
        sent = hold.send()
        gate.wait_for(1)
        call(blocker, "SELECT 1 FROM dramatiq.queue WHERE message_id = %s FOR UPDATE", sent.message_id)
        gate.open()
        eventually(lambda: call(connection, BLOCKED) == 1, what="an acknowledgement under way")
        assert end_sessions(connection, "lf-worker finisher") == 1
        note.send("meanwhile")
        assert journal.wait_for(1) == ["meanwhile"]
        blocker.rollback()
        wait_until_empty(connection)
    assert gate.most == 1


def test_nothing_runs_twice_or_is_lost_while_the_finishers_session_is_ended_again_and_again(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker, threads=8):
        for batch in range(6):
            with connection, connection.cursor() as tx:
                broker.enqueue_in(tx, *[note.message(batch * 50 + number) for number in range(50)])
            end_sessions(connection, "lf-worker finisher")
            journal.wait_for((batch + 1) * 50)
        wait_until_empty(connection)
    assert Counter(journal.entries) == Counter(range(300))


def test_nothing_runs_twice_or_is_lost_while_all_sessions_are_ended_again_and_again(
    broker: LeaseBroker, connection: Connection
) -> None:
    journal = Journal()
    note = dramatiq.actor(journal.write, actor_name="note")
    with running_worker(broker, threads=8):
        for batch in range(4):
            with connection, connection.cursor() as tx:
                broker.enqueue_in(tx, *[note.message(batch * 50 + number) for number in range(50)])
            end_sessions(connection)
            journal.wait_for((batch + 1) * 50)
        wait_until_empty(connection)
    assert Counter(journal.entries) == Counter(range(200))


def test_the_last_acknowledgements_survive_the_loss_of_their_session_during_a_shutdown(
    broker: LeaseBroker, connection: Connection, dsn: str
) -> None:
    gate = Gate()
    hold = dramatiq.actor(gate.pass_through, actor_name="hold")
    with closing(connect_as_worker(dsn)) as blocker:
        blocker.autocommit = False

        def disturb() -> None:
            with closing(connect_as_worker(dsn)) as session:
                eventually(lambda: not sessions(session, "lf-worker taker"), what="the end of taking")
                eventually(lambda: not sessions(session, "lf-worker lease"), what="the end of the lease")
                end_sessions(session, "lf-worker finisher")
            blocker.rollback()

        disturber = threading.Thread(target=disturb)
        with running_worker(broker):
            sent = hold.send()
            gate.wait_for(1)
            call(blocker, "SELECT 1 FROM dramatiq.queue WHERE message_id = %s FOR UPDATE", sent.message_id)
            gate.open()
            eventually(lambda: call(connection, BLOCKED) == 1, what="an acknowledgement under way")
            disturber.start()
        disturber.join(20)
    assert rows(connection) == []


def test_each_loss_of_a_session_is_told_once_and_so_is_the_second_outage(
    dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions that lasted for a moment count as good ones here."""

    class Reader(SessionThread):
        def serve(self, session: Connection) -> None:
            while not self._stopping.wait(0.01):
                call(session, "SELECT 1")

    monkeypatch.setattr("app.broker.sessions.GOOD_SESSION_SECONDS", 0.0)
    with capture_logs() as logs:
        reader = Reader(dsn, "reader")
        reader.start()
        for _ in range(2):
            eventually(lambda: sessions(connection, "lf-worker reader"), what="its session")
            end_sessions(connection, "lf-worker reader")
            told = len(logs)
            eventually(lambda told=told: len(logs) >= told + 2, what="what it says of it")  # type: ignore[misc]
        reader.stop()
        reader.join()
    events = [line["event"] for line in logs]
    assert events == ["database is away", "database is back"] * 2
