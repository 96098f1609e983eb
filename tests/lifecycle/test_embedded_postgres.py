"""The embedded server starts, recovers, and never outlives its owner."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from app.errors import DatabaseError
from app.local import identity
from app.local.binaries import find_binaries
from app.local.cluster_state import read_state, running_state, state_path
from app.local.postgres import AlreadyRunning, EmbeddedPostgres, default_test_directory

pytestmark = pytest.mark.lifecycle

Make = Callable[..., EmbeddedPostgres]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lf-worker-test-", dir=default_test_directory()))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    made: list[EmbeddedPostgres] = []

    def make_one(**options: object) -> EmbeddedPostgres:
        server = EmbeddedPostgres(folder / "data", durable=False, **options)  # type: ignore[arg-type]
        made.append(server)
        return server

    yield make_one
    for server in made:
        server.stop()


def ask(dsn: str, query: str) -> object:
    session = psycopg2.connect(dsn)
    try:
        with session, session.cursor() as row:
            row.execute(query)
            found = row.fetchone()
            return found[0] if found else None
    finally:
        session.close()


def remember(dsn: str) -> None:
    session = psycopg2.connect(dsn)
    with session, session.cursor() as row:
        row.execute("CREATE TABLE remembered AS SELECT 42 AS answer")
    session.close()


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_fresh_folder_becomes_a_server_set_up_like_the_platforms(make: Make) -> None:
    with make(max_connections=33, settings={"work_mem": "5MB"}) as server:
        assert ask(server.dsn, "SHOW wal_level") == "logical"
        assert ask(server.dsn, "SHOW server_encoding") == "UTF8"
        assert ask(server.dsn, "SHOW max_connections") == "33"
        assert ask(server.dsn, "SHOW work_mem") == "5MB"
        assert ask(server.dsn, "SHOW listen_addresses") == "127.0.0.1"
        assert ask(server.dsn, "SELECT extract(timezone FROM now())::int") == 0
        assert ask(server.dsn, "SELECT usesuper FROM pg_user WHERE usename = current_user") is True


def test_another_database_has_a_dsn_of_its_own(make: Make) -> None:
    with make() as server:
        assert ask(server.dsn_for("template1"), "SELECT current_database()") == "template1"


def test_a_wrong_password_is_refused(make: Make) -> None:
    refused = pytest.raises(psycopg2.OperationalError, match="password authentication failed")
    with make() as server, refused:
        psycopg2.connect(server.dsn, password="a guess")


def test_the_state_file_holds_the_dsn_and_only_its_owner_can_read_it(make: Make) -> None:
    with make() as server:
        path = state_path(server.data_dir)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        state = read_state(server.data_dir)
        assert state is not None
        assert state.dsn == server.dsn
        assert state.owner_pid == os.getpid()
        assert running_state(server.data_dir) == state
    assert running_state(server.data_dir) is None


def test_data_port_and_password_survive_a_restart(make: Make) -> None:
    server = make()
    server.start()
    before = server.dsn
    remember(before)
    server.restart()
    assert server.dsn == before
    assert ask(server.dsn, "SELECT answer FROM remembered") == 42


def test_a_killed_server_recovers_over_its_stale_pid_file(make: Make) -> None:
    server = make()
    server.start()
    remember(server.dsn)
    server.kill()
    assert server.pid is None
    assert (server.data_dir / "postmaster.pid").exists()
    server.start()
    assert ask(server.dsn, "SELECT answer FROM remembered") == 42


def test_a_server_killed_under_busy_sessions_recovers(make: Make) -> None:
    server = make()
    server.start()
    session = psycopg2.connect(server.dsn)
    session.cursor().execute("SELECT 1")
    server.kill()
    server.start()
    session.close()
    assert ask(server.dsn, "SELECT 1") == 1


def test_a_second_opener_is_told_how_to_reach_the_first(make: Make) -> None:
    with make() as first:
        second = make()
        with pytest.raises(AlreadyRunning) as caught:
            second.start()
        assert caught.value.state is not None
        assert caught.value.state.dsn == first.dsn
        assert ask(first.dsn, "SELECT 1") == 1


def test_starting_twice_keeps_the_server(make: Make) -> None:
    with make() as server:
        before = server.pid
        server.start()
        assert server.pid == before


def test_a_thread_other_than_the_main_one_may_not_start_it(make: Make) -> None:
    server = make()
    errors: list[Exception] = []

    def start() -> None:
        try:
            server.start()
        except DatabaseError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_a_setting_the_server_refuses_is_reported_with_its_log(make: Make) -> None:
    with pytest.raises(DatabaseError, match="no_such_setting"):
        make(settings={"no_such_setting": "1"}).start()
    make().start()


def test_a_lost_state_file_is_explained(make: Make) -> None:
    server = make()
    server.start()
    server.stop()
    state_path(server.data_dir).unlink()
    with pytest.raises(DatabaseError, match="to begin anew"):
        make().start()


def test_a_folder_with_something_else_in_it_is_left_alone(make: Make, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "diary.txt").write_text("mine")
    with pytest.raises(DatabaseError, match="neither empty nor a PostgreSQL cluster"):
        make().start()
    assert (folder / "data" / "diary.txt").read_text() == "mine"


def test_kill_9_of_the_owner_ends_the_server_and_the_next_owner_takes_over(make: Make, folder: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from app.local.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1]), durable=False); server.start()\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(folder / "data")], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    server_pid = int(owner.stdout.readline())
    session = psycopg2.connect(read_state(folder / "data").dsn)  # type: ignore[union-attr]
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    with make() as server:
        assert not is_running(server_pid)
        assert ask(server.dsn, "SELECT 1") == 1
    session.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
@pytest.mark.parametrize("namespaces", [True, False])
def test_root_runs_the_server_as_nobody_under_a_closed_folder(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch, namespaces: bool
) -> None:
    folder.chmod(0o700)
    if namespaces and not identity.namespaces_are_allowed(find_binaries()):
        pytest.skip("this system refuses user namespaces")
    monkeypatch.setattr(identity, "namespaces_are_allowed", lambda _: namespaces)
    with make() as server:
        remember(server.dsn)
        server.restart()
        assert ask(server.dsn, "SELECT answer FROM remembered") == 42
        assert server.pid is not None
        seen_from_here = psutil.Process(server.pid).uids().effective
        assert (seen_from_here == 0) is namespaces
    assert folder.stat().st_mode & 0o777 == 0o700
