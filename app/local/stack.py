"""Run the Procfile's process types on this machine, as the platforms would."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from app.errors import ProcessFailed
from app.local.follow import Echo, Follower
from app.local.initdb import last_lines
from app.processes import (
    RELEASE,
    ProcessType,
    read_procfile,
    repository_procfile,
    shell_command,
    with_programs,
)

Process = subprocess.Popen[bytes]


class StackError(ProcessFailed):
    """A process of the stack ended when it should not have, or its release step failed."""


@dataclass(frozen=True)
class Ended:
    """A process that ended by itself; the code is negative when a signal ended it."""

    name: str
    exit_code: int
    log: Path

    def __str__(self) -> str:
        tail = last_lines(self.log.read_text(errors="replace"))
        return f"{self.name} ended with code {self.exit_code} ({self.log}): {tail}"


@dataclass
class Stack:
    """The children that a Procfile names, each in a process group of its own.

    Each child writes to `<state_dir>/<name>.log`; `echo` is called with every line as well. `environment`
    is all they get, but for the virtualenv's programs, which come first in PATH. `only` restricts the stack
    to some process types. They run in `directory`, the Procfile's own by default, and read its `.env`.
    The children end when this process does: start them from the main thread.
    """

    state_dir: Path
    environment: Mapping[str, str]
    procfile: Path = field(default_factory=repository_procfile)
    directory: Path | None = None
    only: Collection[str] | None = None
    echo: Echo | None = None
    processes: dict[str, Process] = field(default_factory=dict, init=False)
    _follower: Follower | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def log_path(self, name: str) -> Path:
        """Where the output of a process type goes."""
        return self.state_dir / f"{name}.log"

    def start(self) -> None:
        """Run the release step to its end, then start every other process type.

        Raises `StackError` with the end of its output when the release step fails.
        """
        self.state_dir.mkdir(parents=True, exist_ok=True)
        types = [kind for kind in read_procfile(self.procfile) if self.only is None or kind.name in self.only]
        self._follow(kind.name for kind in types)
        try:
            for kind in sorted(types, key=lambda kind: kind.name != RELEASE):
                process = self.processes[kind.name] = self._spawn(kind)
                if kind.name == RELEASE:
                    self._await_release(process)
        except BaseException:
            self.stop()
            raise

    def ended(self) -> Ended | None:
        """The first process that ended by itself, or None while all run."""
        for name, process in self.processes.items():
            code = process.poll()
            if code is not None:
                return Ended(name, code, self.log_path(name))
        return None

    def check(self) -> None:
        """Raise `StackError` when a process ended by itself."""
        if ended := self.ended():
            raise StackError(str(ended))

    def replace(self, name: str) -> None:
        """Kill a process and its children at once, with SIGKILL, and start another one in its place."""
        process = self.processes[name]
        _kill_family(process)
        process.wait()
        (kind,) = (kind for kind in read_procfile(self.procfile) if kind.name == name)
        self.processes[name] = self._spawn(kind)

    def stop(self, *, timeout_seconds: float = 30.0) -> None:
        """Send SIGTERM to every process, and SIGKILL to the group of each that is still there in the end."""
        for process in self.processes.values():
            # Only to the leader: a dramatiq worker that is told twice drops its running jobs.
            process.terminate()
        deadline = time.monotonic() + timeout_seconds
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _kill_family(process)
            process.wait()
        self.processes.clear()
        if self._follower is not None:
            self._follower.stop()
            self._follower = None

    def _follow(self, names: Iterable[str]) -> None:
        logs = {name: self.log_path(name) for name in names}
        for log in logs.values():
            log.touch()
        if self.echo is not None:
            self._follower = Follower(logs, self.echo)

    def _spawn(self, kind: ProcessType) -> Process:
        with self.log_path(kind.name).open("ab") as log:
            return subprocess.Popen(
                shell_command(kind),
                cwd=self.directory or self.procfile.parent,
                env=with_programs(self.environment),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _await_release(self, process: Process) -> None:
        code = process.wait()
        del self.processes[RELEASE]
        if code != 0:
            raise StackError(str(Ended(RELEASE, code, self.log_path(RELEASE))))


def _kill_family(process: Process) -> None:
    """Kill a process and what it started: a supervisor's children have process groups of their own."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in family:
        with suppress(psutil.NoSuchProcess):
            child.kill()
