"""Real worker processes for tests, started the way the Procfile does and killed the way platforms do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """One `dramatiq app.actors` with its children, in a process group of its own."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: IO[bytes],
        *,
        threads: int = 4,
        shutdown_timeout_ms: int = 20_000,
    ) -> None:
        self._process = subprocess.Popen(
            [
                str(BIN / "dramatiq"),
                "app.actors",
                "--processes=1",
                f"--threads={threads}",
                f"--worker-shutdown-timeout={shutdown_timeout_ms}",
                "--skip-logging",
            ],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def terminate(self) -> None:
        """SIGTERM to the master, as a deploy does."""
        self._process.terminate()

    def wait(self, timeout_seconds: float = 40.0) -> int:
        """The exit code, once it has ended."""
        return self._process.wait(timeout_seconds)

    def kill(self) -> None:
        """SIGKILL to master and children at once, as a crash of the machine does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def pause(self) -> None:
        """SIGSTOP to all of it."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT to all of it."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def listening_ports(self) -> list[int]:
        """The TCP ports that it or a child listens on."""
        family = [psutil.Process(self._process.pid)]
        family += family[0].children(recursive=True)
        return [
            connection.laddr.port
            for process in family
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]


class Fleet:
    """Starts workers on one database, and leaves none behind."""

    def __init__(self, environment: Mapping[str, str], log_path: Path) -> None:
        self.environment = dict(environment)
        self.log_path = log_path
        self._started: list[WorkerProcess] = []

    def start(
        self, *, threads: int = 4, shutdown_timeout_ms: int = 20_000, **environment: str
    ) -> WorkerProcess:
        """One more worker; it is not ready yet."""
        with self.log_path.open("ab") as log:
            worker = WorkerProcess(
                {**self.environment, **environment},
                log,
                threads=threads,
                shutdown_timeout_ms=shutdown_timeout_ms,
            )
        self._started.append(worker)
        return worker

    def stop(self) -> None:
        """Kill whatever still runs."""
        for worker in self._started:
            worker.kill()


@contextmanager
def fleet(environment: Mapping[str, str], log_path: Path) -> Iterator[Fleet]:
    """A fleet that is gone afterwards; its log is printed, for when the test fails."""
    started = Fleet(environment, log_path)
    try:
        yield started
    finally:
        started.stop()
        if log_path.exists():
            print(log_path.read_text(errors="replace")[-8_000:])
