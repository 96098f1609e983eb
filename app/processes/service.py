"""One process type that is kept alive."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from app.processes.children import shell_command
from app.processes.forwarding import Forwarder
from app.processes.procfile import ProcessType
from app.processes.restarts import Restarts

#: Output that a child has left in its pipe is passed on within this time.
LAST_OUTPUT_SECONDS = 2.0


class Service:
    """A child and its restarts. It has a process group of its own, which ends with it.

    `due_at`, on the monotonic clock, is when it is to be started; None while it runs.
    """

    def __init__(
        self, kind: ProcessType, environment: Mapping[str, str], directory: Path, output: BinaryIO
    ) -> None:
        self.name = kind.name
        self.due_at: float | None = time.monotonic()
        self._kind = kind
        self._environment = environment
        self._directory = directory
        self._output = output
        self._restarts = Restarts()
        self._process: subprocess.Popen[bytes] | None = None
        self._forwarder: Forwarder | None = None
        self._started_at = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether the child runs, or has ended unnoticed."""
        return self._process is not None

    def start(self) -> int:
        """Start the child and give its process id."""
        self._process = subprocess.Popen(
            shell_command(self._kind),
            cwd=self._directory,
            env=self._environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        self._forwarder = Forwarder(self.name, self._process.stdout, self._output)
        self._forwarder.start()
        self._started_at, self.due_at = time.monotonic(), None
        return self._process.pid

    def take_end(self) -> int | None:
        """The exit code of a child that has ended since the last look, negative for a signal; else None."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._kill_group()
        if self._forwarder is not None:
            self._forwarder.join(LAST_OUTPUT_SECONDS)
        self._process = self._forwarder = None
        return code

    def plan_restart(self) -> float:
        """Have the child started again after a pause, whose length in seconds it gives."""
        pause_seconds = self._restarts.pause_seconds(time.monotonic() - self._started_at)
        self.due_at = time.monotonic() + pause_seconds
        return pause_seconds

    @property
    def keeps_ending(self) -> bool:
        """Whether it has just become clear that the child ends whenever it is started."""
        return self._restarts.is_alarming

    def terminate(self) -> None:
        """Ask the child to end. Only the leader is asked: a worker that is asked twice drops its jobs."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the child and everything it started."""
        if self._process is not None:
            self._kill_group()
            self._process.wait()

    def _kill_group(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
