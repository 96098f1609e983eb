"""What the broker's tests look at: its rows, its sessions, and what ran in which order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from app.boot import build_broker
from app.broker import LeaseBroker
from app.settings import Settings, settings
from tests.sql import call
from tests.waiting import PATIENCE_SECONDS, eventually


class Journal:
    """What jobs wrote down, in order; tests wait for it to grow."""

    def __init__(self) -> None:
        self._entries: list[Any] = []
        self._grown = threading.Condition()

    def write(self, entry: Any) -> None:
        with self._grown:
            self._entries.append(entry)
            self._grown.notify_all()

    @property
    def entries(self) -> list[Any]:
        with self._grown:
            return list(self._entries)

    def wait_for(self, count: int, *, within_seconds: float = PATIENCE_SECONDS) -> list[Any]:
        """The entries, once there are that many."""
        with self._grown:
            came = self._grown.wait_for(lambda: len(self._entries) >= count, within_seconds)
            assert came, f"{len(self._entries)} of {count} entries within {within_seconds:g} s"
            return list(self._entries)


class Gate:
    """Holds jobs until it is opened, and tells how many are inside."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._inside = 0
        self._most = 0
        self._changed = threading.Condition()

    def pass_through(self) -> None:
        """Called by a job: wait until the gate is open."""
        with self._changed:
            self._inside += 1
            self._most = max(self._most, self._inside)
            self._changed.notify_all()
        assert self._open.wait(60), "nobody opened the gate"
        with self._changed:
            self._inside -= 1

    @property
    def most(self) -> int:
        """The most jobs that were inside at once."""
        return self._most

    def wait_for(self, count: int, *, within_seconds: float = PATIENCE_SECONDS) -> None:
        """Return when that many jobs are inside."""
        with self._changed:
            came = self._changed.wait_for(lambda: self._inside >= count, within_seconds)
            assert came, f"{self._inside} of {count} jobs at the gate within {within_seconds:g} s"

    def open(self) -> None:
        self._open.set()


def rows(session: Connection) -> list[dict[str, Any]]:
    """Every row of the broker's table, oldest due time first."""
    with session.cursor(cursor_factory=RealDictCursor) as row:
        row.execute(
            "SELECT message_id::text, queue_name, state::text, mtime, message, owner::text, deliveries,"
            " unique_key FROM dramatiq.queue ORDER BY mtime, message_id"
        )
        return [dict(found) for found in row.fetchall()]


def row_of(session: Connection, message_id: str) -> dict[str, Any] | None:
    """The row of one message, if it is still there."""
    return next((row for row in rows(session) if row["message_id"] == message_id), None)


def state_of(session: Connection, message_id: str) -> str | None:
    return call(session, "SELECT state::text FROM dramatiq.queue WHERE message_id = %s", message_id)


def wait_for_state(
    session: Connection, message_id: str, state: str | None, *, within_seconds: float = PATIENCE_SECONDS
) -> None:
    """Return when the message is in that state; None means gone."""
    eventually(
        lambda: state_of(session, message_id) == state,
        within_seconds=within_seconds,
        what=f"message {message_id} as {state}",
    )


def wait_until_empty(session: Connection, *, within_seconds: float = PATIENCE_SECONDS) -> None:
    """Return when the broker's table is empty."""
    count = "SELECT count(*) FROM dramatiq.queue"
    eventually(lambda: call(session, count) == 0, within_seconds=within_seconds, what="an empty table")


def sessions(session: Connection, name: str = "lf-worker %") -> dict[str, list[int]]:
    """The process ids of the server's sessions on this database by application name."""
    with session.cursor() as row:
        row.execute(
            "SELECT application_name, array_agg(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE %s AND datname = current_database() GROUP BY 1",
            (name,),
        )
        return dict(row.fetchall())


def end_sessions(session: Connection, name: str = "lf-worker %") -> int:
    """Have the server end sessions, as an administrator or a failover does; how many they were."""
    return int(
        call(
            session,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name LIKE %s AND datname = current_database()",
            name,
        )
    )


def settings_with(**changes: Any) -> Settings:
    """The test's settings with some fields changed."""
    return settings().model_copy(update=changes)


@contextmanager
def another_broker(**changes: Any) -> Iterator[LeaseBroker]:
    """A broker of its own, which to the database is another process; fields of settings can be changed."""
    yield build_broker(settings_with(**changes))
