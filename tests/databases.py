"""Fresh databases for tests: copies of a template that is made once for every state of the SQL files."""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2.extensions import connection
from psycopg2.sql import SQL, Identifier

from app.local.postgres import EmbeddedPostgres, default_test_directory
from app.migrations import PLATFORM, apply_layer, migrate
from app.roles import grant_role

#: A server to use instead of an embedded one; its user must be a superuser. Templates stay on it.
SERVER_VARIABLE = "LF_TEST_POSTGRES_DSN"

#: repaired: the platform as intended, owned by a superuser. owner: the same, owned by a role with the rights
#: of Supabase's `postgres`, which is none. faulty: so owned, and with the faults that the real one has today.
PROFILES = ("repaired", "owner", "faulty")

#: The owner that is no superuser; its password is that of the server's user.
OWNER = "lf_platform_owner"

_SQL_FOLDER = Path(__file__).parents[1] / "app" / "sql"
_OVERLAYS = Path(__file__).parent / "overlays"
_FAULTS = _OVERLAYS / "platform_faults.sql"
_OWNERSHIP = _OVERLAYS / "platform_ownership.sql"
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
        """The owner's DSN of a migrated database of that profile."""
        if profile not in self._templates:
            self._templates[profile] = self._ensure_template(profile)
        with self._copy_of(self._templates[profile], self._owner_of(profile)) as dsn:
            yield dsn

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The DSN of a database without anything in it."""
        with self._copy_of("template0", self._user) as dsn:
            yield dsn

    @contextmanager
    def platform(self, profile: str) -> Iterator[str]:
        """The owner's DSN of a platform of that profile, without anything of the worker's."""
        self._ensure_template(profile)  # which makes the roles that belong to the cluster
        owner = self._owner_of(profile)
        with self._copy_of("template0", owner) as dsn:
            self._build_platform(dsn, profile)
            yield dsn

    def superuser_dsn(self, dsn: str) -> str:
        """The same database for the server's superuser, for what Supabase itself would do to it."""
        return self._dsn_of(urlsplit(dsn).path[1:], self._user)

    @contextmanager
    def worker_role(self, dsn: str) -> Iterator[str]:
        """The same database for a role that `migrate --role` has made; `dsn` is the owner's."""
        role = f"lf_worker_{os.getpid()}_{next(_numbers)}"
        grant_role(dsn, role)
        password = unquote(urlsplit(self._server_dsn).password or "")
        self._run("ALTER ROLE {} PASSWORD " + _literal(password), role)
        try:
            yield self._dsn_of(urlsplit(dsn).path[1:], role)
        finally:
            with closing(psycopg2.connect(self.superuser_dsn(dsn))) as session, session:
                session.cursor().execute(SQL("DROP OWNED BY {}").format(Identifier(role)))
            self._run("DROP ROLE {}", role)

    @contextmanager
    def _copy_of(self, template: str, owner: str) -> Iterator[str]:
        name = f"lf_test_{os.getpid()}_{next(_numbers)}"
        self._run("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy", name, owner, template)
        try:
            yield self._dsn_of(name, owner)
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
        unfinished, owner = f"{name}_unfinished", self._owner_of(profile)
        self._ensure_owner()
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", unfinished)
        self._run("CREATE DATABASE {} OWNER {} TEMPLATE template0", unfinished, owner)
        dsn = self._dsn_of(unfinished, owner)
        self._build_platform(dsn, profile)
        migrate(dsn)
        self._run("ALTER DATABASE {} ALLOW_CONNECTIONS false", unfinished)
        self._run("ALTER DATABASE {} RENAME TO {}", unfinished, name)

    def _build_platform(self, dsn: str, profile: str) -> None:
        with closing(psycopg2.connect(dsn)) as session:
            session.autocommit = True
            apply_layer(session, PLATFORM)
        if self._owner_of(profile) == OWNER:
            _run_file(self.superuser_dsn(dsn), _OWNERSHIP)
        if profile == "faulty":
            _run_file(dsn, _FAULTS)

    def _ensure_owner(self) -> None:
        with self._maintenance.cursor() as row:
            row.execute("SELECT FROM pg_roles WHERE rolname = %s", (OWNER,))
            verb = "ALTER" if row.rowcount else "CREATE"
            row.execute(
                f"{verb} ROLE {OWNER} LOGIN NOSUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS"
                " PASSWORD %s",
                (unquote(urlsplit(self._server_dsn).password or ""),),
            )

    def _owner_of(self, profile: str) -> str:
        return self._user if profile == "repaired" else OWNER

    @property
    def _user(self) -> str:
        return self._maintenance.info.user

    def _run(self, statement: str, *names: str) -> None:
        with self._maintenance.cursor() as row:
            row.execute(SQL(statement).format(*map(Identifier, names)))

    def _dsn_of(self, database: str, user: str) -> str:
        server = urlsplit(self._server_dsn)
        address = server.netloc.rpartition("@")[2]
        return server._replace(
            netloc=f"{user}:{server.password or ''}@{address}", path=f"/{database}"
        ).geturl()


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _run_file(dsn: str, path: Path) -> None:
    with closing(psycopg2.connect(dsn)) as session, session:
        session.cursor().execute(path.read_text(encoding="utf-8"))


def _digest_of_sql() -> str:
    digest = hashlib.sha256()
    for path in [*sorted(_SQL_FOLDER.rglob("*.sql")), *sorted(_OVERLAYS.glob("*.sql"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
