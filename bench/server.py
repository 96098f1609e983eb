"""The embedded server of a benchmark, the databases on it, and the machine under it."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection
from psycopg2.sql import SQL, Identifier

from app.local.postgres import EmbeddedPostgres
from bench.report import Figures


@dataclass(frozen=True)
class BenchServer:
    """A running server; everything that belongs to the benchmark lives in `folder` and goes with it."""

    postgres: EmbeddedPostgres
    folder: Path
    settings: Mapping[str, str]

    def create_database(self, name: str) -> str:
        """Make an empty database, in place of an earlier one of the name, and return its DSN."""
        with closing(open_session(self.postgres.dsn)) as session, session.cursor() as row:
            row.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
            row.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        return self.postgres.dsn_for(name)

    def describe(self) -> Figures:
        """The machine and the server, for the head of a report."""
        return {
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "postgres": str(fetch_value(self.postgres.dsn, "SHOW server_version")),
            "filesystem": _filesystem_kind(self.folder),
            "durable": fetch_value(self.postgres.dsn, "SHOW fsync") == "on",
            "synchronous_commit": str(fetch_value(self.postgres.dsn, "SHOW synchronous_commit")),
            **self.settings,
        }


@contextmanager
def bench_server(**settings: str) -> Iterator[BenchServer]:
    """A durable server in a temporary folder, with these server settings; nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="lf-worker-bench-") as name:
        folder = Path(name)
        with (
            EmbeddedPostgres(folder / "data", durable=True, settings=settings) as postgres,
            _setting("DATABASE_URL", postgres.dsn),
        ):
            yield BenchServer(postgres, folder, settings)


@contextmanager
def _setting(name: str, value: str) -> Iterator[None]:
    """Set an environment variable of this process, which reads the worker's settings where it enqueues."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def open_session(dsn: str) -> connection:
    """A session in autocommit mode."""
    session = psycopg2.connect(dsn, application_name="bench")
    session.autocommit = True
    return session


def fetch_value(dsn: str, statement: str, parameters: Any = None) -> Any:
    """The first column of the first row, on a session of its own."""
    with closing(open_session(dsn)) as session, session.cursor() as row:
        row.execute(statement, parameters)
        found = row.fetchone()
    return found[0] if found else None


def _filesystem_kind(folder: Path) -> str:
    found = subprocess.run(
        ["/bin/sh", "-c", "df -T \"$1\" | awk 'END { print $2 }'", "df", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"
