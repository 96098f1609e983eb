"""A database that takes no writes for a while, as when its disk is full or another server takes over."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_runs
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from tests.integration.broker_rows import end_sessions
from tests.lifecycle.processes import BIN, ROOT
from tests.sql import call
from tests.waiting import eventually

pytestmark = [pytest.mark.lifecycle, pytest.mark.timeout(240)]

PROCFILE = """
worker: dramatiq app.actors --processes 1 --threads 4 --worker-shutdown-timeout 2000 --skip-logging
scheduler: periodiq app.schedules
realtime: python -m realtime
"""
#: What is promised of the time until all goes on, and what a busy machine adds.
PROMISED_SECONDS, BUSY_SECONDS = 10.0, 20.0

SUCCEEDED = "SELECT count(*) FROM execution.runs WHERE status = 'succeeded'"
LEASES = "SELECT count(*) FROM worker.processes WHERE lease_until > now()"
LISTENS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND application_name = 'lf-worker realtime' AND query LIKE 'LISTEN%%'
"""


@pytest.fixture
def database_setting(superuser: Connection, dsn: str) -> Callable[[str], None]:
    """Runs `ALTER DATABASE … ` with the given words."""
    name = urlsplit(dsn).path[1:]
    return lambda words: superuser.cursor().execute(f"ALTER DATABASE {name} {words}")


@pytest.fixture
def stack(dsn: str, provider: ProviderServer, tmp_path: Path) -> Iterator[Stack]:
    (tmp_path / "Procfile").write_text(PROCFILE)
    environment = {
        **os.environ,
        **provider.environment(),
        "DATABASE_URL": dsn,
        "OPENAI_API_KEY": "sk-lifecycle-planted-0123456789",
        "WORKER_BROKER_LEASE_SECONDS": "3",
        "WORKER_BROKER_STALL_SECONDS": "3",
        "WORKER_DATABASE_POOL_WAIT_SECONDS": "1",
        "PLATFORM_API_BATTLE_WORKER_ENABLED": "true",
        # What is switched off is skipped when the forwarder starts, which writes.
        "PLATFORM_API_VOTE_ANOMALY_WORKER_ENABLED": "false",
    }
    started = Stack(tmp_path / "state", environment, procfile=tmp_path / "Procfile", directory=ROOT)
    try:
        started.start()
        yield started
    finally:
        for name in started.processes:
            print(f"--- {name}", started.log_path(name).read_text(errors="replace")[-6_000:])
        started.stop(timeout_seconds=5)


def test_all_work_goes_on_when_a_database_that_was_read_only_takes_writes_again(
    stack: Stack,
    provider: ProviderServer,
    connection: Connection,
    superuser: Connection,
    seeded: Seeded,
    database_setting: Callable[[str], None],
) -> None:
    eventually(lambda: call(connection, LEASES) == 1, what="the worker's lease")
    eventually(lambda: call(connection, LISTENS) == 1, what="the forwarder's session")
    begun = {name: process.pid for name, process in stack.processes.items()}
    provider.hold()
    enqueue_lens_runs(connection, 15, model="gpt-4o", inputs={"prompt": "hi"})
    provider.wait_for_calls(2)
    database_setting("SET default_transaction_read_only = on")
    end_sessions(superuser)
    provider.release()
    # Long enough that leases run out and answers can't be written.
    eventually(lambda: call(connection, LEASES) == 0, what="the end of the lease")
    said = stack.log_path("realtime")
    eventually(lambda: "database is away" in said.read_text(), what="that the forwarder notices")
    assert call(connection, SUCCEEDED) == 0
    database_setting("RESET default_transaction_read_only")
    began = time.monotonic()
    eventually(lambda: call(connection, SUCCEEDED) == 15, what="the end of all runs")
    assert time.monotonic() - began < PROMISED_SECONDS + BUSY_SECONDS
    stack.check()
    assert {name: process.pid for name, process in stack.processes.items()} == begun
    eventually(lambda: "database is back" in said.read_text(), what="that the forwarder goes on")
    for name in ("realtime", "scheduler"):
        log = stack.log_path(name).read_text()
        assert log.count("database is away") <= 1, name
        assert "Traceback" not in log
    assert "Traceback" not in stack.log_path("worker").read_text()


def test_a_worker_that_starts_then_waits_for_it(
    stack: Stack,
    connection: Connection,
    superuser: Connection,
    seeded: Seeded,
    database_setting: Callable[[str], None],
) -> None:
    eventually(lambda: call(connection, LEASES) == 1, what="the worker's lease")
    database_setting("SET default_transaction_read_only = on")
    enqueue_lens_runs(connection, 3, model="gpt-4o", inputs={"prompt": "hi"})
    for name in tuple(stack.processes):
        stack.replace(name)
    end_sessions(superuser)
    for name in ("worker", "realtime"):
        log = stack.log_path(name)
        eventually(lambda log=log: "database is away" in log.read_text(), what=f"the start of {name}")  # type: ignore[misc]
    database_setting("RESET default_transaction_read_only")
    eventually(lambda: call(connection, LISTENS) == 1, what="the forwarder's session")
    eventually(lambda: call(connection, SUCCEEDED) == 3, what="the end of all runs")
    stack.check()


def test_who_watches_the_status_goes_on_when_the_session_is_lost(dsn: str, superuser: Connection) -> None:
    command = [str(BIN / "lf-worker"), "status", "--watch"]
    environment = {**os.environ, "DATABASE_URL": dsn}
    watching = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    session = (
        "SELECT max(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'lf-worker command' AND query LIKE '%%worker.processes%%'"
    )
    try:
        first = eventually(lambda: call(superuser, session), what="a first look")
        end_sessions(superuser, "lf-worker command")
        eventually(lambda: call(superuser, session) not in (None, first), what="another session")
        assert watching.poll() is None
    finally:
        watching.send_signal(signal.SIGINT)
        said, _ = watching.communicate(timeout=30)
    assert b"Traceback" not in said
