"""What is known about an embedded database beside its data: who runs it, and how to connect.

Two files stand beside the data folder. `<data>.lock` is locked as long as a server uses the folder: the
server inherits the lock, so it outlives a killed owner until the server itself has ended. `<data>.json`,
readable by its owner only, holds the state.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from app.errors import DatabaseError


class ClusterState(BaseModel, frozen=True):
    """How to reach a cluster, and the process that owns its server."""

    owner_pid: int
    dsn: str

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return urlsplit(self.dsn).port or 0

    @property
    def password(self) -> str:
        """The password of the user postgres."""
        return urlsplit(self.dsn).password or ""

    def dsn_for(self, database: str) -> str:
        """The DSN of another database of the same cluster."""
        return f"{self.dsn.rpartition('/')[0]}/{database}"

    def owner_is_alive(self) -> bool:
        """Whether the process that started the server still exists."""
        try:
            os.kill(self.owner_pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def state_path(data_dir: Path) -> Path:
    """Where the state of a data folder is kept."""
    return data_dir.with_name(data_dir.name + ".json")


def read_state(data_dir: Path) -> ClusterState | None:
    """The state last written for a data folder, if any; unreadable content is an error."""
    path = state_path(data_dir)
    try:
        return ClusterState.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError):
        raise DatabaseError(f"{path} can't be read: remove it and {data_dir} to begin anew") from None


def write_state(data_dir: Path, state: ClusterState) -> None:
    """Replace the state in one step; only the owner may read it."""
    path = state_path(data_dir)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_text(state.model_dump_json())
    fresh.replace(path)


def running_state(data_dir: Path) -> ClusterState | None:
    """The state of the server that uses a data folder right now, or None when none does."""
    if not lock_path(data_dir).exists():
        return None
    descriptor = try_lock(data_dir)
    if descriptor is None:
        return read_state(data_dir)
    os.close(descriptor)
    return None


def lock_path(data_dir: Path) -> Path:
    """Where the lock of a data folder is."""
    return data_dir.with_name(data_dir.name + ".lock")


def try_lock(data_dir: Path, *, wait_seconds: float = 0.0) -> int | None:
    """Lock a data folder and return the open descriptor that holds the lock; None when it is taken."""
    deadline = time.monotonic() + wait_seconds
    descriptor = os.open(lock_path(data_dir), os.O_RDWR | os.O_CREAT, 0o600)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.01)
        else:
            return descriptor
