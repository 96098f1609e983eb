"""Real broker processes for tests: `dramatiq` with the actors of `broker_app`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.lifecycle.processes import BIN, ROOT

#: Short enough to wait for, and longer than a busy machine keeps a process from renewing it.
LEASE_SECONDS = 1.5


class BrokerProcess:
    """One `dramatiq tests.lifecycle.broker_app` with its children, in a process group of its own."""

    def __init__(
        self, dsn: str, log_path: Path, *, processes: int, threads: int, lease_seconds: float | None
    ):
        lease = (
            {}
            if lease_seconds is None
            else {
                "WORKER_BROKER_LEASE_SECONDS": str(lease_seconds),
                "WORKER_BROKER_STALL_SECONDS": str(lease_seconds),
            }
        )
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(BIN / "dramatiq"),
                    "tests.lifecycle.broker_app:broker",
                    f"--processes={processes}",
                    f"--threads={threads}",
                    "--worker-shutdown-timeout=20000",
                    "--skip-logging",
                ],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": dsn, **lease},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def send(self, signal_number: signal.Signals) -> None:
        """A signal to the master and all of its children."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal_number)

    def terminate(self) -> None:
        """SIGTERM to the master, as a deploy does."""
        self._process.terminate()

    def wait(self, timeout_seconds: float = 30.0) -> int:
        return self._process.wait(timeout_seconds)

    def kill(self) -> None:
        """SIGKILL to all of it, as a crash of the machine does."""
        self.send(signal.SIGKILL)
        self._process.wait(10)


class Workers:
    """Starts broker processes on one database, and leaves none behind."""

    def __init__(self, dsn: str, log_path: Path) -> None:
        self.dsn = dsn
        self.log_path = log_path
        self._started: list[BrokerProcess] = []

    def start(
        self, *, processes: int = 1, threads: int = 4, lease_seconds: float | None = LEASE_SECONDS
    ) -> BrokerProcess:
        """One more command; it is not ready yet."""
        started = BrokerProcess(
            self.dsn, self.log_path, processes=processes, threads=threads, lease_seconds=lease_seconds
        )
        self._started.append(started)
        return started

    def stop(self) -> None:
        for started in self._started:
            started.kill()
        print(self.log_path.read_text(errors="replace")[-8_000:] if self.log_path.exists() else "no log")
