"""`lf-worker run`: three processes under one, as a container has them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run
from app.local.provider_server import ProviderServer
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

_WORKER_OF = "SELECT worker_id FROM worker.claims WHERE job = %s"

COMMAND = str(Path(sys.executable).with_name("lf-worker"))
PROGRAMS = ("app.worker", "app.schedules", "-m realtime")


class Running:
    """A `lf-worker run` and everything it has written."""

    def __init__(self, folder: Path, environment: dict[str, str], *options: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [COMMAND, "run", *options],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            self.lines.extend(self.process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(20)
        print("".join(self.lines)[-8_000:])

    def events(self) -> list[dict[str, Any]]:
        """What was logged; lines that aren't JSON are none."""
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def logged(self, message: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event.get("message") == message]

    def leader(self, program: str) -> psutil.Process:
        """The child that runs a program, once it has become it."""

        def look() -> psutil.Process | None:
            for child in psutil.Process(self.process.pid).children():
                try:
                    if program in " ".join(child.cmdline()):
                        return child
                except psutil.Error:
                    continue
            return None

        return eventually(look, what=program)

    def workers(self) -> list[psutil.Process]:
        """The worker processes, once there are two."""
        found = [
            child
            for child in psutil.Process(self.process.pid).children()
            if "app.worker" in " ".join(child.cmdline())
        ]
        return found if len(found) == 2 else []

    def family(self) -> list[psutil.Process]:
        """Every descendant, once all programs run."""
        for program in PROGRAMS:
            self.leader(program)
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def running(
    dsn: str, seeded: Seeded, tmp_path: Path, provider: ProviderServer, connection: Connection
) -> Iterator[Running]:
    environment = {
        **provider.environment(),
        "DATABASE_URL": dsn,
        "OPENAI_API_KEY": "sk-lifecycle-planted-0123456789",
        "WORKER_BROKER_LEASE_SECONDS": "3",
    }
    with Running(tmp_path, environment) as started:
        eventually(lambda: workers(connection) > 0, what="a worker")
        yield started


def workers(connection: Connection) -> int:
    return int(call(connection, "SELECT count(*) FROM worker.processes WHERE lease_until > now()"))


def test_sigterm_drains_all_processes(
    running: Running, provider: ProviderServer, connection: Connection
) -> None:
    family = running.family()
    provider.hold()
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    provider.wait_for_calls(1)
    running.process.terminate()
    eventually(lambda: running.logged("stopping"), what="the beginning of the end")
    provider.release()
    assert running.process.wait(40) == 0
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run) == "succeeded"
    assert psutil.wait_procs(family, timeout=60)[1] == []
    assert {event["process"] for event in running.logged("process stopped")} == {
        "worker.1",
        "worker.2",
        "scheduler",
        "realtime",
    }
    assert running.logged("processed queued run"), "a child's line in JSON is passed on as it is"


def test_a_killed_child_is_started_anew_and_a_second_signal_kills(
    running: Running, provider: ProviderServer, connection: Connection
) -> None:
    first = running.leader("app.schedules")
    first.kill()
    ended = eventually(lambda: running.logged("process ended"), what="the child's end")
    assert (ended[0]["process"], ended[0]["exitCode"], ended[0]["restartSeconds"]) == ("scheduler", -9, 1.0)
    eventually(lambda: running.leader("app.schedules").pid != first.pid, what="another scheduler")

    provider.hold()
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    provider.wait_for_calls(1)
    family = running.family()
    running.process.send_signal(signal.SIGINT)
    eventually(lambda: running.logged("stopping"), what="the beginning of the end")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(40) == 1
    assert psutil.wait_procs(family, timeout=60)[1] == []


def test_a_killed_worker_process_costs_its_sibling_nothing(
    running: Running, provider: ProviderServer, connection: Connection
) -> None:
    """Dramatiq's own command stops every child when one dies."""
    first, second = eventually(running.workers, what="two worker processes")
    eventually(lambda: workers(connection) == 2, what="both leases")
    first.kill()
    runs = [enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"}) for _ in range(5)]
    succeeded = "SELECT count(*) FROM execution.runs WHERE status = 'succeeded'"
    eventually(lambda: call(connection, succeeded) == len(runs), what="the runs")
    assert second.is_running()
    assert {call(connection, _WORKER_OF, run) for run in runs} == {f"{socket.gethostname()}:2"}
    (started,) = eventually(lambda: running.logged("process started")[4:], what="another worker process")
    assert started["process"] == "worker.1"
    assert not running.logged("stopping")


def test_a_worker_process_that_is_told_twice_finishes_its_jobs(
    running: Running, provider: ProviderServer, connection: Connection
) -> None:
    """Heroku sends SIGTERM to every process of a dyno, so each hears it from its supervisor as well."""
    processes = eventually(running.workers, what="two worker processes")
    eventually(lambda: workers(connection) == 2, what="both leases")
    provider.hold()
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    provider.wait_for_calls(1)
    for process in processes:
        process.terminate()
    running.process.terminate()
    eventually(lambda: running.logged("stopping"), what="the beginning of the end")
    for process in processes:
        process.terminate()
    provider.release()
    assert running.process.wait(40) == 0
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run) == "succeeded"
    assert len(provider.calls) == 1


def test_a_worker_process_with_too_much_memory_finishes_its_job_and_is_replaced(
    dsn: str, seeded: Seeded, tmp_path: Path, provider: ProviderServer, connection: Connection
) -> None:
    """What it has after its imports is too much already: it works until somebody looks, and ends well."""
    environment = {
        **provider.environment(),
        "DATABASE_URL": dsn,
        "OPENAI_API_KEY": "sk-lifecycle-planted-0123456789",
        "WORKER_MEMORY_LIMIT_MB": "10",
    }
    provider.hold()
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    with Running(tmp_path, environment, "worker", "--processes", "1") as running:
        provider.wait_for_calls(1)
        eventually(
            lambda: running.logged("process ends since it has too much memory"), what="word of its memory"
        )
        provider.release()
        ended = eventually(lambda: running.logged("process ended"), what="its end")
        assert ended[0]["exitCode"] == 0
        eventually(lambda: len(running.logged("process started")) > 1, what="another one")
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run) == "succeeded"
    assert len(provider.calls) == 1


def test_one_kind_of_process_can_be_run_alone(
    dsn: str, seeded: Seeded, tmp_path: Path, connection: Connection
) -> None:
    with Running(tmp_path, {"DATABASE_URL": dsn}, "worker", "--processes", "3", "--threads", "2") as fleet:
        eventually(lambda: workers(connection) == 3, what="three leases")
        assert {event["process"] for event in fleet.logged("process started")} == {
            "worker.1",
            "worker.2",
            "worker.3",
        }


def test_nothing_outlives_a_killed_supervisor_and_nothing_listens(running: Running) -> None:
    family = running.family()
    listening = [
        port
        for process in [psutil.Process(running.process.pid), *family]
        for port in process.net_connections("tcp")
        if port.status == psutil.CONN_LISTEN
    ]
    assert listening == []
    running.process.kill()
    assert psutil.wait_procs(family, timeout=60)[1] == []


def test_settings_that_can_not_be_used_are_said_before_anything_starts(tmp_path: Path) -> None:
    with Running(tmp_path, {"DATABASE_URL": "mysql://db"}) as refused:
        assert refused.process.wait(20) == 2
    assert refused.lines == ["lf-worker: DATABASE_URL: must begin with postgres:// or postgresql://\n"]
