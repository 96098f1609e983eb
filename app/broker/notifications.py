"""Waiting on one session for notifications, and on a pipe for wake-ups from other threads."""

from __future__ import annotations

import os
import select
import time

import structlog
from psycopg2.extensions import connection, quote_ident

log = structlog.get_logger(__name__)

#: How long a notification to oneself may take before the session is taken for one that hears none.
PROBE_SECONDS = 3.0


class WakeUp:
    """A pipe that any thread can use to end a wait early."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self._writer, False)

    def set(self) -> None:
        """End the wait, or the next one."""
        try:
            os.write(self._writer, b".")
        except BlockingIOError:
            return  # the pipe is full of earlier wake-ups

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        try:
            while os.read(self.reader, 4096):
                pass
        except BlockingIOError:
            return


class Notifications:
    """LISTEN on the channels of queues, as stock dramatiq-pg names them."""

    def __init__(self, session: connection, wake_up: WakeUp) -> None:
        self._session = session
        self._wake_up = wake_up
        self._queue_of_channel: dict[str, str] = {}

    def listen(self, queue_names: list[str]) -> bool:
        """Listen on these queues too; True if there was a new one."""
        channels = {f"dramatiq.{queue_name}.enqueue": queue_name for queue_name in queue_names}
        new = channels.keys() - self._queue_of_channel.keys()
        for channel in new:
            self._execute(f"LISTEN {quote_ident(channel, self._session)}")
        self._queue_of_channel |= channels
        return bool(new)

    def arrive(self) -> bool:
        """Whether notifications reach this session at all: through a pooler in transaction mode none does."""
        channel = f"lf_worker.probe.{os.getpid()}.{id(self)}"
        self._execute(f"LISTEN {quote_ident(channel, self._session)}")
        self._execute(f"NOTIFY {quote_ident(channel, self._session)}")
        deadline = time.monotonic() + PROBE_SECONDS
        while time.monotonic() < deadline:
            heard = self._session.notifies
            if any(notification.channel == channel for notification in heard):
                # Those of queues stay for the first wait.
                self._session.notifies = [n for n in heard if n.channel != channel]
                self._execute(f"UNLISTEN {quote_ident(channel, self._session)}")
                return True
            select.select([self._session.fileno()], [], [], deadline - time.monotonic())
            self._session.poll()
        return False

    def wait(self, seconds: float) -> set[tuple[str, str]]:
        """Queues and payloads of the notifications that came; empty after a wake-up, or when nothing came."""
        # Notifications that came with a query's answer don't make the socket readable any more.
        timeout = 0.0 if self._session.notifies else seconds
        select.select([self._session.fileno(), self._wake_up.reader], [], [], timeout)
        self._wake_up.clear()
        self._session.poll()
        heard, self._session.notifies = self._session.notifies, []
        queue_of = self._queue_of_channel
        return {(queue_of[n.channel], n.payload) for n in heard if n.channel in queue_of}

    def _execute(self, statement: str) -> None:
        with self._session.cursor() as row:
            row.execute(statement)
