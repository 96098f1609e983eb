"""Apply the numbered SQL files of this package to a database, each once and in order.

Files are named `NNNN_name.sql`. `app/sql/worker` is for any database, the real platform's included;
`app/sql/platform` is the reference platform for local use. Every file runs in a transaction of its own,
together with the row that records it; an advisory lock makes a second migrator wait for the first.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection
from psycopg2.sql import SQL, Identifier

from app.errors import DatabaseError

#: The oldest server major version that the SQL files are written for.
OLDEST_POSTGRES = 15
#: How long a file may wait for a table that others use. Whoever comes after us waits behind us meanwhile.
LOCK_TIMEOUT_SECONDS = 10

_SQL_FOLDER = Path(__file__).parent / "sql"
_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_ADVISORY_LOCK = 0x6C66_776F_726B_6572  # "lfworker"


@dataclass(frozen=True)
class Step:
    """One SQL file. `checksum` is the same whatever line endings a checkout has."""

    number: int
    name: str
    path: Path
    sql: str
    checksum: str


@dataclass(frozen=True)
class AppliedStep:
    """A file that was applied just now, and how long it took."""

    layer: str
    number: int
    name: str
    duration_ms: float

    def __str__(self) -> str:
        return f"{self.layer} {self.number:04d} {self.name} ({self.duration_ms:.0f} ms)"


@dataclass(frozen=True)
class Layer:
    """A folder of SQL files and the schema whose table `migrations` records them."""

    name: str
    folder: Path
    schema: str


WORKER = Layer("worker", _SQL_FOLDER / "worker", schema="worker")
PLATFORM = Layer("platform", _SQL_FOLDER / "platform", schema="reference_platform")


def migrate(dsn: str, *, platform: bool = False) -> list[AppliedStep]:
    """Bring a database up to date and return what had to be applied, in order; nothing if nothing had.

    With `platform` the reference platform comes first; a database that holds the real one is refused.
    Raises `DatabaseError` with one line when the server is too old, a file fails, an applied file was
    edited, or the database was migrated by a newer version of this package.
    """
    with closing(_connect(dsn)) as session, _alone(session):
        applied: list[AppliedStep] = []
        if platform:
            _refuse_a_real_platform(session)
            applied += apply_layer(session, PLATFORM)
        applied += apply_layer(session, WORKER)
        if applied:
            _call_if_there(session, "worker.record_triggers")
        return applied


def pending_migrations(dsn: str) -> list[Step]:
    """What `migrate` would apply, for a role that may only look."""
    with closing(_connect(dsn)) as session:
        return pending_steps(WORKER, read_steps(WORKER.folder), _read_records(session, WORKER))


def restore_triggers(dsn: str) -> list[str]:
    """Put those of our triggers back that were dropped or switched off since, and return them in words."""
    with closing(_connect(dsn)) as session, _alone(session):
        return _call_if_there(session, "worker.restore_triggers")


def _call_if_there(session: connection, function: str) -> list[str]:
    """The rows of a function of ours without arguments; none before the step that makes it is applied."""
    with session, session.cursor() as row:
        row.execute("SELECT to_regprocedure(%s) IS NOT NULL", (f"{function}()",))
        if not (row.fetchone() or (False,))[0]:
            return []
        row.execute(f"SELECT * FROM {function}()")  # noqa: S608 - a name of our own
        return [str(found[0]) for found in row.fetchall()]


def apply_layer(session: connection, layer: Layer) -> list[AppliedStep]:
    """Apply the files of one layer that its table of records doesn't know yet. The caller holds the lock."""
    steps = read_steps(layer.folder)
    recorded = _read_records(session, layer)
    return [_apply(session, layer, step) for step in pending_steps(layer, steps, recorded)]


def read_steps(folder: Path) -> list[Step]:
    """The SQL files of a folder by number; an unusable name or a number used twice is a `DatabaseError`."""
    steps: dict[int, Step] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise DatabaseError(f"{path.name}: migrations are named like 0001_name.sql")
        number = int(match[1])
        if number in steps:
            raise DatabaseError(f"{path.name}: number {match[1]} is taken by {steps[number].path.name}")
        sql = path.read_text(encoding="utf-8")
        steps[number] = Step(number, match[2], path, sql, hashlib.sha256(sql.encode()).hexdigest())
    return list(steps.values())


def newest_number(folder: Path) -> int:
    """The number that a database has when every SQL file of a folder is applied."""
    return max(int(path.name.partition("_")[0]) for path in folder.glob("[0-9]*.sql"))


def pending_steps(layer: Layer, steps: Sequence[Step], recorded: dict[int, str]) -> list[Step]:
    """The steps that are still to do, given the checksum of every number already done.

    Raises `DatabaseError` unless the recorded steps are exactly the first ones of `steps`.
    """
    newest_step = max((step.number for step in steps), default=0)
    newest_record = max(recorded, default=0)
    if newest_record > newest_step:
        raise DatabaseError(
            f"the database's {layer.name} schema is at {newest_record:04d}, newer than this package's "
            f"{newest_step:04d}: run a newer version"
        )
    done = {step.number: step for step in steps if step.number <= newest_record}
    for number in sorted(done.keys() | recorded.keys()):
        if number not in done:
            raise DatabaseError(f"{layer.name} migration {number:04d} was applied, but its file is gone")
        if number not in recorded:
            raise DatabaseError(
                f"{done[number].path.name} was added below {newest_record:04d}, applied already"
            )
        if recorded[number] != done[number].checksum:
            raise DatabaseError(f"{done[number].path.name} was edited after it had been applied")
    return [step for step in steps if step.number > newest_record]


def _connect(dsn: str) -> connection:
    try:
        session = psycopg2.connect(dsn, application_name="lf-worker migrate", connect_timeout=10)
    except psycopg2.Error as error:
        raise DatabaseError(f"can't connect to the database: {_connection_problem(error)}") from None
    session.autocommit = True
    if session.server_version < OLDEST_POSTGRES * 10_000:
        major = session.server_version // 10_000
        session.close()
        raise DatabaseError(f"PostgreSQL {major} is too old: {OLDEST_POSTGRES} or newer is needed")
    return session


def _connection_problem(error: psycopg2.Error) -> str:
    """libpq's reason, unless it may quote a badly encoded DSN and with it a part of the password."""
    reason = _first_line(error)
    if reason.startswith("connection to server"):
        return reason
    return "its DSN can't be used; check the host, and that user and password are percent-encoded"


@contextmanager
def _alone(session: connection) -> Iterator[None]:
    """Hold the migrators' lock. Closing the session gives it back, also when this process dies."""
    try:
        with session.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0; SET lock_timeout = 0")
            cursor.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{LOCK_TIMEOUT_SECONDS}s",))
        yield
    except psycopg2.Error as error:
        raise DatabaseError(f"can't migrate the database: {_first_line(error)}") from None


def _refuse_a_real_platform(session: connection) -> None:
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT to_regnamespace('execution') IS NOT NULL AND to_regclass(%s) IS NULL",
            (f"{PLATFORM.schema}.migrations",),
        )
        (is_foreign,) = cursor.fetchone() or (True,)
    if is_foreign:
        raise DatabaseError("this database holds a platform already: the reference platform is not for it")


def _read_records(session: connection, layer: Layer) -> dict[int, str]:
    schema = Identifier(layer.schema)
    with session.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NULL", (f"{layer.schema}.migrations",))
        (is_new,) = cursor.fetchone() or (True,)
        if is_new:
            cursor.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            cursor.execute(
                SQL(
                    "CREATE TABLE {}.migrations (number integer PRIMARY KEY, name text NOT NULL, "
                    "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
                ).format(schema)
            )
        cursor.execute(SQL("SELECT number, checksum FROM {}.migrations").format(schema))
        return dict(cursor.fetchall())


def _apply(session: connection, layer: Layer, step: Step) -> AppliedStep:
    started = time.perf_counter()
    record = SQL("INSERT INTO {}.migrations (number, name, checksum) VALUES (%s, %s, %s)")
    try:
        with session, session.cursor() as cursor:
            cursor.execute(step.sql)
            cursor.execute(record.format(Identifier(layer.schema)), (step.number, step.name, step.checksum))
    except psycopg2.Error as error:
        raise DatabaseError(
            f"{layer.name}/{step.path.name}{_line_of(error, step.sql)}: {_first_line(error)}"
        ) from None
    return AppliedStep(layer.name, step.number, step.name, (time.perf_counter() - started) * 1000)


def _line_of(error: psycopg2.Error, sql: str) -> str:
    position = error.diag.statement_position
    return f" line {sql.count(chr(10), 0, int(position)) + 1}" if position else ""


def _first_line(error: psycopg2.Error) -> str:
    text = (error.diag.message_primary or str(error)).strip() or type(error).__name__
    return text.splitlines()[0]
