"""An embedded PostgreSQL server: for the demo, the dev command and the tests, never for production.

The server listens on 127.0.0.1 only, wants a password (scram), and ends when its owner does: by `stop`, or
by the kernel when the owner is killed. It lives in a session of its own, so that Ctrl-C in a terminal
reaches the workers first and the database last.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from app.errors import DatabaseError
from app.local import cluster_state
from app.local.binaries import find_binaries
from app.local.cluster_state import ClusterState
from app.local.identity import Runner, choose_runner
from app.local.initdb import check_version, make_cluster
from app.local.server_process import Server, interrupt_orphan, start_server, stop_server

#: How long to wait for a lock that is perhaps only being looked at.
LOCK_SECONDS = 0.5
#: How long to wait for a server whose owner was killed; it is shutting down by then.
ORPHAN_SECONDS = 10.0

_MEMORY_DISK = Path("/dev/shm")  # noqa: S108  # only looked at; folders in it are made by mkdtemp
_MEMORY_DISK_NEEDED_BYTES = 1 << 30


class AlreadyRunning(DatabaseError):  # noqa: N818  # a state of affairs that callers tell people about
    """Another process runs a server on the same folder; `state` says how to reach it, once it is known."""

    def __init__(self, data_dir: Path, state: ClusterState | None) -> None:
        super().__init__(f"an embedded PostgreSQL already runs in {data_dir}")
        self.state = state


class EmbeddedPostgres:
    """One PostgreSQL server on one data folder, made by initdb when the folder is empty.

    `durable=False` never waits for the disk: what is committed survives a killed server, but not a power
    cut. `settings` are server settings that win over ours.
    The log, the lock and the state file with the DSN (mode 0600) stand beside the data folder.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        durable: bool = True,
        max_connections: int = 100,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log_path = self.data_dir.with_name(self.data_dir.name + ".log")
        self._durable = durable
        self._settings = {"max_connections": str(max_connections), **(settings or {})}
        self._lock: int | None = None
        self._server: Server | None = None
        self._state: ClusterState | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def dsn(self) -> str:
        """The DSN of the superuser `postgres` on the database of the same name."""
        return self.dsn_for("postgres")

    def dsn_for(self, database: str) -> str:
        """The superuser's DSN on another database of this server."""
        if self._state is None:
            raise DatabaseError(f"the embedded PostgreSQL in {self.data_dir} was never started")
        return self._state.dsn_for(database)

    @property
    def pid(self) -> int | None:
        """The process id of the server, or None when it doesn't run."""
        return self._server.pid if self._server and self._server.poll() is None else None

    def start(self) -> None:
        """Start the server and return when it takes connections; does nothing when it runs already.

        Raises `AlreadyRunning` when another process runs a server on the folder, and `DatabaseError` when
        it doesn't come up or when this is not the main thread: the kernel ends the server with the thread
        that started it.
        """
        if self.pid is not None:
            return
        if threading.current_thread() is not threading.main_thread():
            raise DatabaseError("the embedded PostgreSQL must be started from the main thread")
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._lock = self._acquire_lock()
        try:
            runner = choose_runner(find_binaries())
            self._state = self._prepare(runner)
            options = self._options(self._state.port)
            self._server = start_server(self.data_dir, runner, options, lock=self._lock, log=self.log_path)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server fast, ending open sessions, and release the folder."""
        if self._server is not None:
            stop_server(self._server)
            self._server = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a crash would; `start` recovers. For tests."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        self.stop()
        self.start()

    def _acquire_lock(self) -> int:
        descriptor = cluster_state.try_lock(self.data_dir, wait_seconds=LOCK_SECONDS)
        if descriptor is not None:
            return descriptor
        state = cluster_state.read_state(self.data_dir)
        if state is not None and not state.owner_is_alive():
            interrupt_orphan(self.data_dir)
            descriptor = cluster_state.try_lock(self.data_dir, wait_seconds=ORPHAN_SECONDS)
        if descriptor is None:
            raise AlreadyRunning(self.data_dir, state)
        return descriptor

    def _prepare(self, runner: Runner) -> ClusterState:
        """Make the cluster if there is none yet, pick the port, and write both down."""
        before = cluster_state.read_state(self.data_dir)
        if (self.data_dir / "PG_VERSION").exists():
            if before is None:
                raise DatabaseError(
                    f"{cluster_state.state_path(self.data_dir)} is missing, and with it the password: "
                    f"remove {self.data_dir} to begin anew"
                )
            check_version(self.data_dir, runner.binaries.major)
            password = before.password
        else:
            password = secrets.token_urlsafe(18)
            make_cluster(self.data_dir, runner, password=password, durable=self._durable)
        port = _free_port(preferred=before.port if before else 0)
        dsn = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        state = ClusterState(owner_pid=os.getpid(), dsn=dsn)
        cluster_state.write_state(self.data_dir, state)
        return state

    def _options(self, port: int) -> dict[str, str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "wal_level": "logical",
            "timezone": _utc(),
            "log_timezone": _utc(),
            "shared_buffers": "64MB",
        }
        if not self._durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        return options | self._settings


def default_test_directory() -> Path:
    """The existing folder in which to make a throwaway cluster's own: memory with 1 GiB free, else tmp."""
    try:
        free_bytes = shutil.disk_usage(_MEMORY_DISK).free
    except OSError:
        free_bytes = 0
    if free_bytes > _MEMORY_DISK_NEEDED_BYTES and os.access(_MEMORY_DISK, os.W_OK):
        return _MEMORY_DISK
    return Path(tempfile.gettempdir())


def _utc() -> str:
    """UTC by the name that needs no time zone files when the system has none."""
    return "UTC" if Path("/usr/share/zoneinfo/UTC").exists() else "GMT"


def _free_port(*, preferred: int) -> int:
    """The preferred port if nobody listens on it, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DatabaseError("no free TCP port on 127.0.0.1")
