"""Fresh databases for tests: copies of a template that is made once for every state of the SQL files."""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from psycopg2.extensions import connection
from psycopg2.sql import SQL, Identifier

from app.local.postgres import EmbeddedPostgres, default_test_directory
from app.migrations import migrate

#: A server to use instead of an embedded one; its user must be a superuser. Templates stay on it.
SERVER_VARIABLE = "LF_TEST_POSTGRES_DSN"

#: repaired: the platform as intended; faulty: with the faults that the real one has today.
PROFILES = ("repaired", "faulty")

_SQL_FOLDER = Path(__file__).parents[1] / "app" / "sql"
_FAULTS = Path(__file__).parent / "overlays" / "platform_faults.sql"
_SERVICE_ROLE = '{"role":"service_role"}'
_numbers = itertools.count(1)


@contextmanager
def running_server() -> Iterator[str]:
    """The DSN of a server for this test session; an embedded one is removed with all its data."""
    if os.environ.get(SERVER_VARIABLE):
        yield os.environ[SERVER_VARIABLE]
        return
    with (
        tempfile.TemporaryDirectory(prefix="lf-worker-tests-", dir=default_test_directory()) as folder,
        EmbeddedPostgres(Path(folder) / "data", durable=False, max_connections=300) as server,
    ):
        yield server.dsn


def connect_as_worker(dsn: str) -> connection:
    """An autocommit session with the search path and the claims that the worker's sessions have.

    They are set as options of the session, so that no rollback undoes them.
    """
    session = psycopg2.connect(
        dsn, options=f"-c search_path=worker,public -c request.jwt.claims={_SERVICE_ROLE}"
    )
    session.autocommit = True
    return session


class Databases:
    """Makes and drops databases on one server, which other processes may use in the same way."""

    def __init__(self, server_dsn: str) -> None:
        self._server_dsn = server_dsn
        self._maintenance = psycopg2.connect(server_dsn)
        self._maintenance.autocommit = True
        self._templates: dict[str, str] = {}

    def close(self) -> None:
        self._maintenance.close()

    @contextmanager
    def fresh(self, profile: str) -> Iterator[str]:
        """The DSN of a migrated database of that profile."""
        if profile not in self._templates:
            self._templates[profile] = self._ensure_template(profile)
        with self._copy_of(self._templates[profile]) as dsn:
            yield dsn

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The DSN of a database without anything in it."""
        with self._copy_of("template0") as dsn:
            yield dsn

    @contextmanager
    def _copy_of(self, template: str) -> Iterator[str]:
        name = f"lf_test_{os.getpid()}_{next(_numbers)}"
        self._run("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        try:
            yield self._dsn_of(name)
        finally:
            self._run("DROP DATABASE {} WITH (FORCE)", name)

    def _ensure_template(self, profile: str) -> str:
        assert profile in PROFILES, f"{profile} is none of {PROFILES}"
        name = f"lf_template_{profile}_{_digest_of_sql()}"
        with self._maintenance.cursor() as row:
            row.execute("SELECT pg_advisory_lock(hashtext('lf_template'))")
            try:
                row.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
                if not row.rowcount:
                    self._build_template(name, profile)
            finally:
                row.execute("SELECT pg_advisory_unlock(hashtext('lf_template'))")
        return name

    def _build_template(self, name: str, profile: str) -> None:
        """Build under another name: a half-built template must never be taken for a whole one."""
        unfinished = f"{name}_unfinished"
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", unfinished)
        self._run("CREATE DATABASE {} TEMPLATE template0", unfinished)
        migrate(self._dsn_of(unfinished), platform=True)
        if profile == "faulty":
            with closing(psycopg2.connect(self._dsn_of(unfinished))) as session, session:
                session.cursor().execute(_FAULTS.read_text(encoding="utf-8"))
        self._run("ALTER DATABASE {} ALLOW_CONNECTIONS false", unfinished)
        self._run("ALTER DATABASE {} RENAME TO {}", unfinished, name)

    def _run(self, statement: str, *names: str) -> None:
        with self._maintenance.cursor() as row:
            row.execute(SQL(statement).format(*map(Identifier, names)))

    def _dsn_of(self, database: str) -> str:
        return urlsplit(self._server_dsn)._replace(path=f"/{database}").geturl()


def _digest_of_sql() -> str:
    digest = hashlib.sha256()
    for path in [*sorted(_SQL_FOLDER.rglob("*.sql")), _FAULTS]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
