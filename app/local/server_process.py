"""The process of an embedded PostgreSQL server: start it, see that it is ready, end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from app.errors import DatabaseError
from app.local.identity import Runner
from app.local.initdb import last_lines

#: How long a server may take to start; recovery after a crash is part of it.
START_SECONDS = 60.0
#: How long a fast stop may take before the server is told to quit without a checkpoint.
STOP_SECONDS = 30.0

Server = subprocess.Popen[bytes]


def start_server(
    data_dir: Path, runner: Runner, options: Mapping[str, str], *, lock: int, log: Path
) -> Server:
    """Start a server that keeps the lock, and return when it takes connections.

    Raises `DatabaseError` with the end of the server's log when it doesn't come up.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        log_start = log.stat().st_size if log.exists() else 0
        server = _spawn(data_dir, runner, options, lock=lock, log=log)
        if _becomes_ready(server, data_dir, deadline):
            return server
        stop_server(server)
        said = _read_from(log, log_start)
        # The last sessions of a killed server may hold its shared memory a moment longer.
        if "shared memory block" not in said or time.monotonic() >= deadline:
            raise DatabaseError(f"PostgreSQL did not start ({log}): {last_lines(said)}")
        time.sleep(0.05)


def stop_server(server: Server) -> None:
    """Stop a server fast, ending its open sessions."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGQUIT)
            server.wait()


def interrupt_orphan(data_dir: Path) -> None:
    """Ask the server that a killed owner left behind to stop."""
    lines = _postmaster_lines(data_dir)
    if lines and lines[0].isdigit():
        try:
            os.kill(int(lines[0]), signal.SIGINT)
        except ProcessLookupError:
            return


def _spawn(data_dir: Path, runner: Runner, options: Mapping[str, str], *, lock: int, log: Path) -> Server:
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    folder = os.open(data_dir, os.O_RDONLY)
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                runner.command("postgres", "-D", runner.path_through(folder, data_dir), *settings),
                pass_fds=[folder, lock],
                start_new_session=True,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
    finally:
        os.close(folder)


def _becomes_ready(server: Server, data_dir: Path, deadline: float) -> bool:
    """Whether the server came up: line 1 of postmaster.pid is its id and line 8 says ready."""
    while time.monotonic() < deadline and server.poll() is None:
        lines = _postmaster_lines(data_dir)
        if len(lines) >= 8 and lines[0] == str(server.pid) and lines[7].strip() == "ready":
            return True
        time.sleep(0.005)
    return False


def _postmaster_lines(data_dir: Path) -> list[str]:
    try:
        return (data_dir / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _read_from(log: Path, position: int) -> str:
    with log.open(errors="replace") as file:
        file.seek(position)
        return file.read()
