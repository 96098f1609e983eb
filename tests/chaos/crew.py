"""The processes under test, restarted whenever they end, as a platform would."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from app.processes import launch_command, with_programs
from tests.chaos.ledger import Fault, Ledger

ROOT = Path(__file__).parents[2]
PROCESSES, THREADS = 2, 12
WORKERS = ("worker-1", "worker-2")
SHUTDOWN_SECONDS = 2.0
RESTART_SECONDS = 0.3
#: What a process leaves behind in its log that can't boot: our own word, or that of Python's multiprocessing.
_FAILED_BOOT = re.compile(rb"^(?:lf-worker: |Process Process-\d+:)", re.MULTILINE)
#: Dramatiq's command looks after its children only when all of them have started, or 30 s later.
STARTING_SECONDS = 6.0


@dataclass
class Service:
    """One command with its children, in a process group of its own."""

    name: str
    command: str
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    thaw_at: float | None = None
    freeze: Fault | None = None
    endings: list[Fault] = field(default_factory=list)
    log_bytes_read: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                launch_command("/bin/sh", "-c", f"exec {self.command}"),
                cwd=ROOT,
                env=with_programs(self.environment),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.started_at = time.time()

    @property
    def is_up(self) -> bool:
        """Whether it runs and isn't frozen."""
        return self.process is not None and self.process.poll() is None and self.thaw_at is None

    def signal_all(self, number: int) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def has_child_that_failed_to_boot(self) -> bool:
        """Whether its log tells of one since it was last looked at."""
        with self.log.open("rb") as log:
            log.seek(self.log_bytes_read)
            added = log.read()
        whole_lines = added[: added.rfind(b"\n") + 1]
        self.log_bytes_read += len(whole_lines)
        return _FAILED_BOOT.search(whole_lines) is not None

    def children(self) -> list[psutil.Process]:
        """Its worker processes; helpers that only start or track others are small."""
        if self.process is None or time.time() < self.started_at + STARTING_SECONDS:
            return []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
            return sorted(family, key=lambda child: -child.memory_info().rss)[:PROCESSES]
        return []


class Crew:
    """All services; `tend` is to be called often, from the main thread, with whose life theirs is tied."""

    def __init__(self, environment: Mapping[str, str], folder: Path, ledger: Ledger) -> None:
        self._folder = folder
        worker = (
            f"dramatiq app.actors --processes {PROCESSES} --threads {THREADS} --skip-logging "
            f"--worker-shutdown-timeout {SHUTDOWN_SECONDS * 1000:.0f}"
        )
        commands = {
            **dict.fromkeys(WORKERS, worker),
            "scheduler": "periodiq app.schedules",
            "realtime": "python -m realtime",
        }
        self.services = {
            name: Service(name, command, _environment_of(name, environment), folder / f"{name}.log")
            for name, command in commands.items()
        }
        self.exits: list[tuple[str, int, float]] = []
        self._ledger = ledger

    def tend(self) -> None:
        """Thaw what was frozen long enough, and start again what has ended."""
        now = time.time()
        for service in self.services.values():
            if service.thaw_at is not None and now >= service.thaw_at:
                self.thaw(service)
            if service.log.exists() and service.has_child_that_failed_to_boot():
                self._expect_end(service, now)
            process = service.process
            if process is not None and process.poll() is not None:
                self.exits.append((service.name, process.returncode, now))
                service.signal_all(signal.SIGKILL)
                service.process, service.ended_at = None, now
                while service.endings:
                    service.endings.pop().ended_at = now
            if service.process is None and now >= service.ended_at + RESTART_SECONDS:
                service.start()

    def _expect_end(self, service: Service, now: float) -> None:
        """Write down that a process could not boot since the database was away: its siblings end with it."""
        if self._ledger.was_database_away(now):
            service.endings.append(self._ledger.begin("boot refused", service.name))

    def freeze(self, service: Service, fault: Fault, seconds: float) -> None:
        service.signal_all(signal.SIGSTOP)
        service.freeze, service.thaw_at = fault, time.time() + seconds

    def thaw(self, service: Service) -> None:
        service.signal_all(signal.SIGCONT)
        service.thaw_at = None
        if service.freeze is not None:
            service.freeze.ended_at = time.time()

    @property
    def is_frozen(self) -> bool:
        """Whether any service is."""
        return any(service.thaw_at is not None for service in self.services.values())

    def stop(self) -> None:
        for service in self.services.values():
            service.signal_all(signal.SIGKILL)
            if service.process is not None:
                service.process.wait()


def _environment_of(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """A name and keys of its own, by which claims and requests can be told apart."""
    keys = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"), f"sk-{name}-0123456789")
    return {**environment, **keys, "BATTLE_WORKER_ID": name}
