"""Real worker processes for a benchmark, started by the `dramatiq` command line and gone afterwards."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from app.local.stack import Stack
from app.settings import environment_names
from bench.contenders import Contender
from bench.journal import Entry, read_journal
from bench.server import BenchServer

ROOT = Path(__file__).resolve().parents[1]
POLL_SECONDS = 0.01

_numbers = itertools.count(1)


class TooSlowError(Exception):
    """Something that a benchmark waits for did not happen in time."""


@dataclass(frozen=True)
class Fleet:
    """The worker processes of one contender."""

    stack: Stack
    journal_path: Path
    processes: int

    def journal(self) -> list[Entry]:
        """What the jobs reported."""
        return read_journal(self.journal_path)

    def await_all_at_work(self, timeout_seconds: float = 20.0) -> None:
        """Wait until every process has begun a job."""
        wait_until(self.stack, lambda: self._signed_in() >= self.processes, timeout_seconds)

    def await_stamps(self, count: int, timeout_seconds: float) -> list[float]:
        """The waits of the jobs that noted when they were sent, in milliseconds; fewer when time is up."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.stack.check()
            waits_ms = [entry.pickup_ms for entry in self.journal() if entry.sent_at_ns]
            if len(waits_ms) >= count or time.monotonic() > deadline:
                return waits_ms
            time.sleep(POLL_SECONDS)

    def rss_mb(self) -> list[float]:
        """The memory of each worker process, the largest first."""
        return worker_rss_mb(self.stack.processes["worker"].pid, self.processes)

    def _signed_in(self) -> int:
        return len({entry.pid for entry in self.journal()})


@contextmanager
def fleet(
    server: BenchServer,
    contender: Contender,
    *,
    processes: int,
    threads: int,
    queues: list[str],
    leave_free: int = 0,
) -> Iterator[Fleet]:
    """Workers of `bench.noop_app`; `leave_free` threads are kept from the first queue, by ours."""
    folder = server.folder / f"fleet-{next(_numbers)}"
    folder.mkdir()
    procfile = folder / "Procfile"
    procfile.write_text(
        f"worker: dramatiq bench.noop_app --processes {processes} --threads {threads} "
        "--worker-shutdown-timeout 1000 --skip-logging\n"
    )
    environment = {
        **inherited_environment(),
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": contender.dsn,
        "BENCH_CONTENDER": contender.name,
        "BENCH_QUEUES": ",".join(queues),
        "BENCH_LEAVE_FREE": str(leave_free),
        "BENCH_JOURNAL": str(folder / "journal"),
    }
    stack = Stack(folder, environment, procfile=procfile, directory=folder)
    stack.start()
    try:
        yield Fleet(stack, folder / "journal", processes)
    finally:
        stack.stop(timeout_seconds=3)


def inherited_environment() -> dict[str, str]:
    """The environment without any of the worker's settings: benchmarks measure the defaults."""
    return {name: value for name, value in os.environ.items() if name not in environment_names()}


def wait_until(stack: Stack, condition: Callable[[], bool], timeout_seconds: float) -> None:
    """Poll until the condition holds; raises `TooSlowError`, or `StackError` when a process has ended."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        stack.check()
        if time.monotonic() > deadline:
            raise TooSlowError(f"not within {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)


def worker_rss_mb(master_pid: int, processes: int) -> list[float]:
    """The resident memory of a dramatiq command's worker processes, the largest first, in MB.

    The command also has children that only start or track others; they are the smallest.
    """
    children = psutil.Process(master_pid).children(recursive=True)
    sizes = sorted((child.memory_info().rss / 1e6 for child in children), reverse=True)
    return sizes[:processes]
