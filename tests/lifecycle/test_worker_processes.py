"""What happens to lens runs when processes die, are deployed, or lose their database."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs, seed
from app.local.postgres import EmbeddedPostgres, default_test_directory
from app.local.provider_server import ProviderServer
from app.migrations import migrate
from tests.databases import connect_as_worker
from tests.lifecycle.processes import Fleet
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle


def status_of(connection: Connection, run: UUID) -> str:
    return str(call(connection, "SELECT status FROM execution.runs WHERE id = %s", run))


def wait_for_success(connection: Connection, run: UUID) -> None:
    eventually(lambda: status_of(connection, run) == "succeeded", what=f"success of run {run}")


def wait_until_ready(connection: Connection, processes: int = 1) -> None:
    count = "SELECT count(*) FROM worker.processes WHERE lease_until > now()"
    eventually(lambda: call(connection, count) >= processes, what=f"{processes} processes with a lease")


def queue_run(connection: Connection) -> UUID:
    return enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})


def test_a_run_whose_worker_is_killed_is_finished_once_by_another(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    doomed = workers.start()
    run = queue_run(connection)
    provider.wait_for_calls(1)
    doomed.kill()
    workers.start()
    provider.release()
    wait_for_success(connection, run)
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == 1
    with connection.cursor() as row:
        row.execute("SELECT job, attempt, deaths, outcome FROM worker.claims")
        assert row.fetchall() == [(run, 2, 1, "succeeded")]
    assert len(provider.calls) == 2
    eventually(lambda: call(connection, "SELECT count(*) FROM dramatiq.queue") == 0, what="the last ack")


def test_what_a_killed_worker_held_of_a_budget_is_spent_and_the_next_one_pays_for_itself(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    call(connection, "SELECT worker.set_budget('*', 'day', 1)::text")
    provider.hold()
    doomed = workers.start()
    run = queue_run(connection)
    provider.wait_for_calls(1)
    held = call(connection, "SELECT usd FROM worker.budget_holds")
    doomed.kill()
    workers.start()
    provider.wait_for_calls(2)
    provider.release()
    wait_for_success(connection, run)
    cost = call(connection, "SELECT cost_usd FROM worker.provider_calls")
    with connection.cursor() as row:
        row.execute("SELECT usd FROM worker.budget_holds ORDER BY settled_at NULLS FIRST")
        assert row.fetchall() == [(held,), (cost,)]
    assert call(connection, "SELECT spent_usd + held_usd FROM worker.budget_status() WHERE is_default") == (
        held + cost
    )
    assert 0 < cost < held


def test_a_run_that_kills_every_worker_ends_as_poison(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    run = queue_run(connection)
    for deaths in range(2):
        doomed = workers.start(WORKER_JOB_MAX_DEATHS="2")
        provider.wait_for_calls(deaths + 1)
        doomed.kill()
    workers.start(WORKER_JOB_MAX_DEATHS="2")
    eventually(lambda: status_of(connection, run) == "failed", what="the end of the poison run")
    assert call(connection, "SELECT error_code FROM execution.runs") == "worker.poison"
    assert call(connection, "SELECT outcome FROM worker.dead_letters") == "poison"
    assert len(provider.calls) == 2


def test_a_deploy_lets_a_short_job_finish(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    worker = workers.start()
    run = queue_run(connection)
    provider.wait_for_calls(1)
    worker.terminate()
    taking = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'lf-worker taker' AND datname = current_database()"
    )
    eventually(lambda: call(connection, taking) == 0, what="the end of taking")
    waiting = queue_run(connection)
    provider.release()
    assert worker.wait() == 0
    assert status_of(connection, run) == "succeeded"
    assert status_of(connection, waiting) == "queued"
    assert call(connection, "SELECT count(*) FROM worker.processes") == 0


def test_a_deploy_hands_a_long_job_to_the_next_process_uncounted(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    worker = workers.start(shutdown_timeout_ms=1_000)
    run = queue_run(connection)
    provider.wait_for_calls(1)
    worker.terminate()
    assert worker.wait() == 0
    assert call(connection, "SELECT state FROM worker.claims") == "handed_back"
    assert call(connection, "SELECT state FROM dramatiq.queue") == "queued"
    workers.start()
    provider.wait_for_calls(2)
    provider.release()
    wait_for_success(connection, run)
    with connection.cursor() as row:
        row.execute("SELECT attempt, deaths, errors FROM worker.claims")
        assert row.fetchall() == [(2, 0, 0)]


def test_a_worker_that_was_frozen_can_not_overwrite_its_successor(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    frozen = workers.start()
    run = queue_run(connection)
    provider.wait_for_calls(1)
    frozen.pause()
    workers.start()
    provider.wait_for_calls(2)
    provider.release()
    wait_for_success(connection, run)
    frozen.resume()
    eventually(lambda: "result dropped" in workers.log_path.read_text(), what="the stale attempt's end")
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == 1
    assert call(connection, "SELECT attempt FROM worker.claims WHERE outcome = 'succeeded'") == 2


def test_two_workers_finish_500_runs_exactly_once(
    workers: Fleet, connection: Connection, seeded: Seeded
) -> None:
    for _ in range(2):
        workers.start(threads=8, ECHO_PROVIDER="1")
    wait_until_ready(connection, processes=2)
    enqueue_lens_runs(connection, 500, model="gpt-4o", inputs={"prompt": "hi"})
    done = "SELECT count(*) FROM execution.runs WHERE status = 'succeeded'"
    eventually(lambda: call(connection, done) == 500, what="500 successes")
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == 500
    assert call(connection, "SELECT count(DISTINCT run_id) FROM execution.artifacts") == 500
    assert call(connection, "SELECT count(*) FROM worker.claims WHERE attempt = 1") == 500
    assert call(connection, "SELECT count(DISTINCT worker_id) FROM worker.claims") >= 1
    eventually(lambda: call(connection, "SELECT count(*) FROM dramatiq.queue") == 0, what="the last ack")


def test_no_process_listens_on_a_port(workers: Fleet, connection: Connection, seeded: Seeded) -> None:
    worker = workers.start()
    wait_until_ready(connection)
    assert worker.listening_ports() == []


def test_a_process_holds_six_connections_at_most(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    workers.start(threads=32)
    wait_until_ready(connection)
    held = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE 'lf-worker %%' AND datname = current_database()"
    )
    enqueue_lens_runs(connection, 200, model="gpt-4o", inputs={"prompt": "hi"})
    most = 0
    while call(connection, "SELECT count(*) FROM execution.runs WHERE status = 'succeeded'") < 200:
        most = max(most, call(connection, held))
    assert 0 < most <= 6


def test_heartbeats_are_written_and_the_last_one_says_stopping(
    workers: Fleet, connection: Connection, seeded: Seeded
) -> None:
    worker = workers.start(
        FEATURE_WORKER_HEALTH_MONITORING="true", WORKER_HEARTBEAT_INTERVAL_MS="100", BATTLE_WORKER_ID="box"
    )
    status = "SELECT metadata ->> 'status' FROM platform.api_worker_heartbeats WHERE worker_id LIKE 'box%%'"
    eventually(lambda: call(connection, status) == "running", what="a first heartbeat")
    worker.terminate()
    assert worker.wait() == 0
    assert call(connection, status) == "stopping"
    assert "lens_runs" in call(connection, "SELECT metadata::text FROM platform.api_worker_heartbeats")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": "mysql://nowhere"}, "DATABASE_URL: must begin with"),
        ({"WORKER_PROVIDER_TIMEOUT_MS": "soon"}, "WORKER_PROVIDER_TIMEOUT_MS"),
        ({"DATABASE_URL": "{dsn}-that-nobody-made"}, "does not exist"),
    ],
    ids=["wrong", "no number", "no such database"],
)
def test_a_setting_that_can_not_work_is_one_line(
    environment: dict[str, str], said: str, workers: Fleet, dsn: str
) -> None:
    given = {name: value.format(dsn=dsn) for name, value in environment.items()}
    assert workers.start(**given).wait() != 0
    log = workers.log_path.read_text()
    assert said in log
    assert "Traceback" not in log


def test_code_that_is_newer_than_the_schema_says_so_and_takes_no_work(
    provider: ProviderServer, workers: Fleet, connection: Connection, seeded: Seeded
) -> None:
    newest = call(connection, "SELECT max(number) FROM worker.migrations")
    call(connection, "DELETE FROM worker.migrations WHERE number = %s RETURNING 1", newest)
    run = queue_run(connection)
    assert workers.start().wait() != 0
    log = workers.log_path.read_text()
    assert f"the database's schema is at {newest - 1:04d}, this worker wants {newest:04d}" in log
    assert "run `lf-worker migrate`" in log
    assert "Undefined" not in log
    assert "Traceback" not in log
    assert status_of(connection, run) == "queued"


def test_a_worker_that_starts_while_postgres_is_away_waits_for_it(
    provider: ProviderServer, workers: Fleet
) -> None:
    with (
        TemporaryDirectory(dir=default_test_directory()) as data,
        EmbeddedPostgres(Path(data) / "server") as server,
    ):
        migrate(server.dsn, platform=True)
        seed(server.dsn)
        session = connect_as_worker(server.dsn)
        run = queue_run(session)
        session.close()
        server.stop()
        workers.start(DATABASE_URL=server.dsn)
        waits = "waiting for the database"
        eventually(lambda: waits in workers.log_path.read_text(), what="word of the wait")
        server.start()
        session = eventually(lambda: _reconnect(server.dsn), what="the server's return")
        wait_for_success(session, run)
        session.close()
        assert workers.log_path.read_text().count(waits) == 1


def test_a_restart_of_postgres_in_mid_run_costs_nothing(provider: ProviderServer, workers: Fleet) -> None:
    """On a server of its own, since the others share theirs."""
    with (
        TemporaryDirectory(dir=default_test_directory()) as data,
        EmbeddedPostgres(Path(data) / "server") as server,
    ):
        migrate(server.dsn, platform=True)
        seed(server.dsn)
        session = connect_as_worker(server.dsn)
        provider.hold()
        workers.start(DATABASE_URL=server.dsn)
        wait_until_ready(session)
        run = queue_run(session)
        provider.wait_for_calls(1)
        server.restart()
        provider.release()
        session = eventually(lambda: _reconnect(server.dsn), what="the server's return")
        wait_for_success(session, run)
        later = queue_run(session)
        wait_for_success(session, later)
        assert len(provider.calls) == 2
        assert call(session, "SELECT max(deaths) FROM worker.claims") == 0
        assert call(session, "SELECT count(*) FROM execution.artifacts") == 2
        session.close()


def _reconnect(dsn: str) -> Connection | None:
    try:
        return connect_as_worker(dsn)
    except psycopg2.OperationalError:
        return None
