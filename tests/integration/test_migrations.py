import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app import migrations
from app.errors import DatabaseError
from app.migrations import PLATFORM, WORKER, Layer, apply_layer, migrate, read_steps

LAYER_NAMES = ["platform"] * len(read_steps(PLATFORM.folder)) + ["worker"] * len(read_steps(WORKER.folder))


@pytest.fixture
def session(empty_dsn: str) -> Iterator[Connection]:
    with closing(psycopg2.connect(empty_dsn)) as opened:
        opened.autocommit = True
        yield opened


@pytest.fixture
def own_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layer:
    """The worker's layer with the test's own folder of files."""
    layer = Layer("worker", tmp_path, schema="worker")
    monkeypatch.setattr(migrations, "WORKER", layer)
    return layer


def write(layer: Layer, name: str, sql: str) -> Path:
    path = layer.folder / name
    path.write_text(sql)
    return path


def query(session: Connection, statement: str) -> list[tuple[object, ...]]:
    with session.cursor() as row:
        row.execute(statement)
        return row.fetchall()


def test_an_empty_database_gets_every_step_once_and_in_order(empty_dsn: str, session: Connection) -> None:
    applied = migrate(empty_dsn, platform=True)
    assert [step.layer for step in applied] == LAYER_NAMES
    assert migrate(empty_dsn, platform=True) == []
    recorded = query(session, "SELECT number, name, checksum FROM worker.migrations ORDER BY number")
    assert recorded == [(step.number, step.name, step.checksum) for step in read_steps(WORKER.folder)]


def test_a_step_tells_about_itself_in_a_line(empty_dsn: str, own_layer: Layer) -> None:
    write(own_layer, "0001_first.sql", "SELECT 1")
    (applied,) = migrate(empty_dsn)
    assert re.fullmatch(r"worker 0001 first \(\d+ ms\)", str(applied))


def test_no_files_leave_an_empty_schema(empty_dsn: str, own_layer: Layer, session: Connection) -> None:
    assert migrate(empty_dsn) == []
    assert query(session, "SELECT count(*) FROM worker.migrations") == [(0,)]


def test_a_later_file_is_applied_alone(empty_dsn: str, own_layer: Layer) -> None:
    write(own_layer, "0001_first.sql", "CREATE TABLE worker.a (n int)")
    migrate(empty_dsn)
    write(own_layer, "0002_second.sql", "ALTER TABLE worker.a ADD m int")
    assert [step.name for step in migrate(empty_dsn)] == ["second"]


def test_a_failing_file_leaves_nothing_behind_and_is_named_with_its_line(
    empty_dsn: str, own_layer: Layer, session: Connection
) -> None:
    write(own_layer, "0001_first.sql", "CREATE TABLE worker.a (n int);")
    write(own_layer, "0002_second.sql", "CREATE TABLE worker.b (n int);\n\nSELECT nonsense FROM worker.b;")
    with pytest.raises(DatabaseError) as raised:
        migrate(empty_dsn)
    assert str(raised.value) == 'worker/0002_second.sql line 3: column "nonsense" does not exist'
    assert query(session, "SELECT to_regclass('worker.a') IS NULL, to_regclass('worker.b') IS NULL") == [
        (False, True)
    ]
    assert query(session, "SELECT number FROM worker.migrations") == [(1,)]


def test_an_applied_file_that_was_edited_is_refused(empty_dsn: str, own_layer: Layer) -> None:
    path = write(own_layer, "0001_first.sql", "SELECT 1")
    migrate(empty_dsn)
    path.write_text("SELECT 2")
    with pytest.raises(DatabaseError, match=r"0001_first\.sql was edited after it had been applied"):
        migrate(empty_dsn)


def test_a_database_that_a_newer_version_migrated_is_refused(empty_dsn: str, own_layer: Layer) -> None:
    write(own_layer, "0001_first.sql", "SELECT 1")
    newer = write(own_layer, "0002_second.sql", "SELECT 2")
    migrate(empty_dsn)
    newer.unlink()
    with pytest.raises(DatabaseError, match="is at 0002, newer than this package's 0001"):
        migrate(empty_dsn)


def test_two_migrators_at_once_apply_each_step_once(empty_dsn: str) -> None:
    together = threading.Barrier(4)

    def run() -> list[str]:
        together.wait()
        return [step.layer for step in migrate(empty_dsn, platform=True)]

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(run) for _ in range(4)]]
    assert sorted(results) == [[], [], [], LAYER_NAMES]


def test_a_database_with_a_real_platform_gets_no_reference_platform(
    empty_dsn: str, session: Connection
) -> None:
    with session.cursor() as row:
        row.execute("CREATE SCHEMA execution")
    with pytest.raises(DatabaseError, match="holds a platform already"):
        migrate(empty_dsn, platform=True)
    assert query(session, "SELECT to_regnamespace('reference_platform'), to_regnamespace('worker')") == [
        (None, None)
    ]


def test_the_workers_schema_fits_on_a_platform_that_is_there_already(
    empty_dsn: str, session: Connection
) -> None:
    with session.cursor() as row:
        apply_layer(session, PLATFORM)
        row.execute("DROP SCHEMA reference_platform CASCADE")
    assert {step.layer for step in migrate(empty_dsn)} == {"worker"}


def test_a_server_that_is_too_old_is_refused(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "OLDEST_POSTGRES", 99)
    with pytest.raises(DatabaseError, match=r"PostgreSQL \d+ is too old: 99 or newer is needed"):
        migrate(empty_dsn)


def test_a_file_does_not_wait_for_ever_for_a_table_in_use(
    empty_dsn: str, own_layer: Layer, session: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_SECONDS", 0.05)
    write(own_layer, "0001_first.sql", "ALTER TABLE public.busy ADD n int")
    with session.cursor() as row:
        row.execute("CREATE TABLE public.busy ()")
        with session:
            row.execute("LOCK TABLE public.busy")
            with pytest.raises(
                DatabaseError, match=r"0001_first\.sql: canceling statement due to lock timeout"
            ):
                migrate(empty_dsn)
    assert len(migrate(empty_dsn)) == 1


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://worker:s3cret/pass@localhost/db",
        "postgresql://worker:s3cret@pass@localhost:port/db",
        "postgresql://worker:s3cret%zz@localhost/db",
        "postgresql://worker:s3cret@127.0.0.1:1/db",
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(dsn: str) -> None:
    with pytest.raises(DatabaseError) as raised:
        migrate(dsn)
    message = str(raised.value)
    assert message.startswith("can't connect to the database: ")
    assert "\n" not in message
    assert "s3cret" not in message
    assert "pass@" not in message
    assert raised.value.__suppress_context__
