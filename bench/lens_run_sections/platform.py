"""A seeded reference platform with the Procfile's workers on it, and its lens runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from psycopg2.extensions import connection

from app.local.platform import enqueue_lens_runs, seed
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.migrations import migrate
from app.processes.procfile import read_procfile, repository_procfile
from bench.fleet import inherited_environment, wait_until, worker_rss_mb
from bench.server import BenchServer, open_session

#: Served by a local provider, so that no key is looked up.
MODEL = "llama3.2:3b-instruct"

BOOT_SECONDS = 30.0

_numbers = itertools.count(1)


class WrongEndError(Exception):
    """Runs did not succeed, so that their speed says nothing."""


@dataclass(frozen=True)
class Platform:
    """A database with workers on it; `processes` is how many of them there are."""

    database: str
    session: connection
    stack: Stack
    providers: ProviderServer
    processes: int

    def queue_runs(self, count: int) -> list[UUID]:
        """Queue equal runs in the session's open transaction, if it has one."""
        return enqueue_lens_runs(self.session, count, model=MODEL, inputs={"prompt": "Say hello."})

    def await_success(self, runs: list[UUID], timeout_seconds: float) -> None:
        """Wait until all runs have succeeded; raises `WrongEndError` when one ended otherwise."""
        names = [str(run) for run in runs]
        wait_until(self.stack, lambda: not self._count(names, "IN ('queued', 'running')"), timeout_seconds)
        if wrong := self._count(names, "<> 'succeeded'"):
            raise WrongEndError(f"{wrong} of {len(runs)} runs did not succeed")

    def rss_mb(self) -> list[float]:
        """The memory of each worker process, the largest first."""
        return worker_rss_mb(self.stack.processes["worker"].pid, self.processes)

    def _count(self, runs: list[str], status: str) -> int:
        with self.session.cursor() as row:
            row.execute(
                f"SELECT count(*) FROM execution.runs WHERE id = ANY (%s::uuid[]) AND status {status}",
                (runs,),
            )
            (count,) = row.fetchone() or (0,)
        return int(count)


def prepare_database(server: BenchServer) -> str:
    """Make the database of a seeded reference platform and return its name."""
    dsn = server.create_database("bench_lens_runs")
    migrate(dsn, platform=True)
    seed(dsn)
    return "bench_lens_runs"


@contextmanager
def workers(
    server: BenchServer, database: str, environment: Mapping[str, str], *, latency_seconds: float = 0.0
) -> Iterator[Platform]:
    """The Procfile's worker command on the database, warm, with every provider's API served here."""
    dsn = server.postgres.dsn_for(database)
    folder = server.folder / f"workers-{next(_numbers)}"
    folder.mkdir()
    with ProviderServer(latency_seconds=latency_seconds) as providers, closing(open_session(dsn)) as session:
        settings = {
            **inherited_environment(),
            **providers.environment(),
            **environment,
            "DATABASE_URL": dsn,
        }
        # In a folder without an .env file: a benchmark must not depend on what a developer put there.
        with Stack(folder, settings, directory=folder, only={"worker"}) as stack:
            platform = Platform(database, session, stack, providers, processes_of_procfile())
            wait_until(stack, lambda: _leases(session) >= platform.processes, BOOT_SECONDS)
            platform.await_success(platform.queue_runs(4 * _threads_of_procfile()), BOOT_SECONDS)
            yield platform


def worker_command(procfile: Path | None = None) -> str:
    """The Procfile's command for workers."""
    (command,) = (
        kind.command for kind in read_procfile(procfile or repository_procfile()) if kind.name == "worker"
    )
    return command


def processes_of_procfile() -> int:
    """How many processes the Procfile's worker command has."""
    return _option("processes")


def _threads_of_procfile() -> int:
    return _option("threads")


def _option(name: str) -> int:
    found = re.search(rf"--{name}[ =](\d+)", worker_command())
    if found is None:
        raise ValueError(f"the Procfile's worker command does not say --{name}")
    return int(found[1])


def _leases(session: connection) -> int:
    with session.cursor() as row:
        row.execute("SELECT count(*) FROM worker.processes WHERE lease_until > now()")
        (count,) = row.fetchone() or (0,)
    return int(count)
