"""What becomes of messages when processes are killed, stopped or frozen, and when Postgres goes away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dramatiq
import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.boot import build_broker
from app.database import database
from app.local.postgres import EmbeddedPostgres, default_test_directory
from app.migrations import migrate
from app.settings import settings
from tests.databases import connect_as_worker
from tests.lifecycle.broker_processes import Workers
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

TABLES = """
    CREATE TABLE public.ran (
        execution uuid PRIMARY KEY, job integer NOT NULL, pid integer NOT NULL,
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(), ended_at timestamptz);
    CREATE TABLE public.done (
        job integer PRIMARY KEY, execution uuid NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE public.gate (opened_at timestamptz);
"""

DONE = "SELECT count(*) FROM done"
RAN = "SELECT count(*) FROM ran"
LEFT = "SELECT count(*) FROM dramatiq.queue"
ENDED_TWICE = (
    "SELECT count(*) FROM (SELECT job FROM ran WHERE ended_at IS NOT NULL"
    " GROUP BY job HAVING count(*) > 1) AS twice"
)


@pytest.fixture
def workers(dsn: str, connection: Connection, tmp_path: Path) -> Iterator[Workers]:
    connection.cursor().execute(TABLES)
    started = Workers(dsn, tmp_path / "workers.log")
    yield started
    started.stop()


def message(actor: str, **kwargs: Any) -> dramatiq.Message[object]:
    return dramatiq.Message(queue_name="lifecycle", actor_name=actor, args=(), kwargs=kwargs, options={})


def send(session: Connection, *messages: dramatiq.Message[object], delay_ms: int = 0) -> None:
    """Send as any program with the broker does, in one transaction."""
    with session, session.cursor() as tx:
        build_broker(settings()).enqueue_in(tx, *messages, delay_ms=delay_ms)


def wait_until_ready(session: Connection, processes: int = 1) -> None:
    alive = "SELECT count(*) FROM worker.processes WHERE lease_until > now()"
    eventually(lambda: call(session, alive) >= processes, what=f"{processes} with a lease")
    taking = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'lf-worker taker' AND datname = current_database()"
    )
    eventually(lambda: call(session, taking) >= processes, what=f"{processes} takers")


def wait_for_count(session: Connection, query: str, count: int) -> None:
    eventually(lambda: call(session, query) >= count, what=f"{count} of {query}")


def wait_until_nothing_is_left(session: Connection) -> None:
    eventually(lambda: call(session, LEFT) == 0, what="an empty table")


def open_gate(session: Connection) -> None:
    session.cursor().execute("INSERT INTO gate VALUES (now())")


def test_a_killed_process_messages_are_run_by_another_at_the_default_settings(
    workers: Workers, connection: Connection
) -> None:
    doomed = workers.start(lease_seconds=None)
    wait_until_ready(connection)
    send(connection, *[message("run", job=job, wait_at_gate=True) for job in range(4)])
    wait_for_count(connection, RAN, 4)
    workers.start(lease_seconds=None)
    wait_until_ready(connection, processes=2)
    doomed.kill()
    wait_for_count(connection, RAN, 8)
    open_gate(connection)
    wait_until_nothing_is_left(connection)
    assert call(connection, DONE) == 4
    assert call(connection, ENDED_TWICE) == 0


def test_every_message_is_done_although_five_processes_in_a_row_are_killed(
    workers: Workers, connection: Connection
) -> None:
    send(connection, *[message("run", job=job, pause_ms=50) for job in range(100)])
    for _ in range(5):
        before = call(connection, RAN)
        doomed = workers.start()
        wait_for_count(connection, RAN, before + 6)
        doomed.kill()
    workers.start(threads=8)
    wait_for_count(connection, DONE, 100)
    wait_until_nothing_is_left(connection)
    executions = call(connection, RAN)
    print(f"{executions} executions of 100 messages, {call(connection, ENDED_TWICE)} ended twice")
    assert call(connection, DONE) == 100
    # Only what was in a killed process's threads began again.
    assert executions <= 100 + 5 * 8


def test_a_second_sigterm_ends_a_process_at_once_and_its_message_is_run_by_another(
    workers: Workers, connection: Connection
) -> None:
    doomed = workers.start()
    wait_until_ready(connection)
    send(connection, message("run", job=1, wait_at_gate=True))
    wait_for_count(connection, RAN, 1)
    doomed.terminate()
    taking = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'lf-worker taker' AND datname = current_database()"
    )
    eventually(lambda: call(connection, taking) == 0, what="the end of taking")
    doomed.terminate()
    doomed.wait(timeout_seconds=5)
    assert call(connection, "SELECT state::text FROM dramatiq.queue") == "consumed"
    workers.start()
    wait_for_count(connection, RAN, 2)
    open_gate(connection)
    wait_until_nothing_is_left(connection)
    assert call(connection, DONE) == 1
    assert call(connection, ENDED_TWICE) == 0


def test_no_message_is_lost_or_done_twice_when_all_sessions_end_at_once_under_load(
    workers: Workers, connection: Connection
) -> None:
    workers.start(processes=2, threads=8)
    wait_until_ready(connection, processes=2)
    send(connection, *[message("run", job=job, pause_ms=20) for job in range(400)])
    ended = 0
    for done in (50, 150, 250):
        wait_for_count(connection, DONE, done)
        ended += call(
            connection,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name LIKE 'lf-worker %%' AND datname = current_database()",
        )
    wait_until_nothing_is_left(connection)
    print(f"{ended} sessions ended; {call(connection, RAN)} executions of 400 messages")
    assert ended >= 3 * 6
    assert call(connection, DONE) == 400
    assert call(connection, ENDED_TWICE) == 0
    assert call(connection, RAN) == 400
    assert "Traceback" not in workers.log_path.read_text()


def test_a_restart_of_postgres_under_load_loses_and_doubles_nothing_and_moves_no_due_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server of its own, since the others share theirs."""
    with ExitStack() as stack:
        data = stack.enter_context(TemporaryDirectory(dir=default_test_directory()))
        server = stack.enter_context(EmbeddedPostgres(Path(data) / "server"))
        migrate(server.dsn, platform=True)
        monkeypatch.setenv("DATABASE_URL", server.dsn)
        database.cache_clear()
        stack.callback(database.cache_clear)
        session = connect_as_worker(server.dsn)
        session.cursor().execute(TABLES)
        workers = Workers(server.dsn, tmp_path / "workers.log")
        stack.callback(workers.stop)
        workers.start(processes=2, threads=8)
        wait_until_ready(session, processes=2)
        send(session, *[message("run", job=1_000 + job) for job in range(50)], delay_ms=3_600_000)
        due_times = "SELECT array_agg((message_id, mtime) ORDER BY message_id)::text FROM dramatiq.queue"
        due = call(session, f"{due_times} WHERE mtime > now()")
        send(session, *[message("run", job=job, pause_ms=20) for job in range(300)])
        wait_for_count(session, DONE, 60)
        server.restart()
        session.close()
        session = eventually(lambda: reconnect(server.dsn), what="the server's return")
        wait_for_count(session, DONE, 300)
        eventually(lambda: call(session, LEFT) == 50, what="the last acknowledgement")
        print(f"{call(session, RAN)} executions of 300 messages")
        assert call(session, due_times) == due
        assert call(session, ENDED_TWICE) == 0
        assert call(session, RAN) == 300
        session.close()


def reconnect(dsn: str) -> Connection | None:
    try:
        return connect_as_worker(dsn)
    except psycopg2.OperationalError:
        return None


def test_what_a_frozen_process_held_is_run_by_another_and_its_late_end_does_no_harm(
    workers: Workers, connection: Connection
) -> None:
    frozen = workers.start()
    wait_until_ready(connection)
    send(connection, message("run", job=1, wait_at_gate=True))
    wait_for_count(connection, RAN, 1)
    frozen.send(signal.SIGSTOP)
    workers.start()
    wait_for_count(connection, RAN, 2)
    frozen.send(signal.SIGCONT)
    eventually(lambda: "lease was lost" in workers.log_path.read_text(), what="the end of the frozen lease")
    assert call(connection, "SELECT deliveries FROM dramatiq.queue WHERE state = 'consumed'") == 2
    open_gate(connection)
    wait_until_nothing_is_left(connection)
    # The frozen one is back at work.
    send(connection, *[message("run", job=job, pause_ms=100) for job in range(2, 42)])
    wait_for_count(connection, DONE, 41)
    assert call(connection, RAN) == 42
    assert call(connection, "SELECT count(DISTINCT pid) FROM ran WHERE job > 1") == 2


def test_a_process_that_is_held_up_in_c_for_longer_than_its_lease_is_not_taken_for_dead(
    workers: Workers, connection: Connection
) -> None:
    workers.start(lease_seconds=None)
    workers.start(lease_seconds=None)
    wait_until_ready(connection, processes=2)
    send(connection, message("hog", job=1, seconds=10))
    ran_out = (
        "SELECT EXISTS (SELECT FROM worker.processes WHERE lease_until < now() - interval '2.5 seconds')"
    )
    eventually(lambda: call(connection, ran_out), what="a lease that ran out more than a renewal ago")
    wait_for_count(connection, f"{RAN} WHERE ended_at IS NOT NULL", 1)
    wait_until_nothing_is_left(connection)
    assert call(connection, RAN) == 1
    assert "rescued" not in workers.log_path.read_text()
    assert "lease was lost" not in workers.log_path.read_text()


def test_a_process_that_is_held_up_in_c_for_too_long_is_taken_for_dead(
    workers: Workers, connection: Connection
) -> None:
    held_up = workers.start()
    wait_until_ready(connection)
    send(connection, message("hog", job=1, seconds=60), message("run", job=2, wait_at_gate=True))
    workers.start()
    eventually(lambda: call(connection, f"{RAN} WHERE job = 1") == 2, what="another start of the job")
    assert call(connection, "SELECT count(DISTINCT pid) FROM ran WHERE job = 1 AND ended_at IS NULL") == 2
    held_up.kill()


def test_a_process_whose_threads_all_hang_ends_so_that_it_is_started_anew(
    workers: Workers, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_DEADLINE_GRACE_MS", "100")
    hanging = workers.start(threads=2)
    wait_until_ready(connection)
    send(connection, message("hang"), message("hang"))
    rejected = f"{LEFT} WHERE state = 'rejected'"
    eventually(lambda: call(connection, rejected) == 2, what="the end of both messages")
    hanging.wait(timeout_seconds=10)
    assert "too many threads hang" in workers.log_path.read_text()
    assert call(connection, "SELECT count(*) FROM worker.processes") == 0


def test_eight_processes_that_race_for_2000_messages_do_each_once(
    workers: Workers, connection: Connection
) -> None:
    workers.start(processes=8, threads=4)
    wait_until_ready(connection, processes=8)
    send(connection, *[message("count", job=job) for job in range(2_000)])
    wait_for_count(connection, RAN, 2_000)
    wait_until_nothing_is_left(connection)
    assert call(connection, RAN) == 2_000
    assert call(connection, "SELECT count(DISTINCT job) FROM ran") == 2_000
    assert call(connection, "SELECT count(DISTINCT pid) FROM ran") > 1
