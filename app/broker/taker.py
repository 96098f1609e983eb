"""Takes due messages out of the table for every queue of the process, a batch in one statement."""

from __future__ import annotations

import os
import random
import select
import time
from collections import Counter
from collections.abc import Callable

import structlog
from dramatiq import DramatiqError, Message
from psycopg2.extensions import connection, quote_ident

from app.broker.deliveries import Deliveries, Delivery
from app.broker.sessions import SessionThread

log = structlog.get_logger(__name__)

#: Notifications of a delayed message carry this word: there is nothing to take yet, only a new due time.
DELAYED = "delayed"


class Taker(SessionThread):
    """Waits for notifications, due times and free threads, and takes as much as the threads can hold.

    A poll covers notifications that were lost. While nothing waits in the table, a thread that becomes
    free causes no query.
    """

    def __init__(
        self,
        dsn: str,
        process_id: str,
        deliveries: Deliveries,
        *,
        poll_seconds: float,
        on_undecodable: Callable[[str, int], None],
    ) -> None:
        super().__init__(dsn, "taker")
        self._process_id = process_id
        self._deliveries = deliveries
        self._poll_seconds = poll_seconds
        self._on_undecodable = on_undecodable
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._drained = False
        self._due_unknown = True
        self._due_at: float | None = None

    def thread_freed(self) -> None:
        """Tell the taker that it has room again."""
        if not self._drained:
            self._wake()

    def queue_opened(self) -> None:
        """Tell the taker that there is one more queue to listen on."""
        self._wake()

    def stop(self) -> None:
        """Take nothing more."""
        super().stop()
        self._wake()

    def serve(self, session: connection) -> None:
        """Take messages until stopped."""
        listening: set[str] = set()
        self._drained, self._due_unknown = False, True
        while not self._stopping.is_set():
            self._listen(session, listening)
            if not self._drained:
                self._take(session)
            if self._drained and self._due_unknown:
                self._look_up_due_time(session)
            self._wait(session)

    def _listen(self, session: connection, listening: set[str]) -> None:
        for queue_name in set(self._deliveries.queues) - listening:
            with session.cursor() as row:
                row.execute(f"LISTEN {quote_ident(f'dramatiq.{queue_name}.enqueue', session)}")
            listening.add(queue_name)
            self._drained, self._due_unknown = False, True

    def _take(self, session: connection) -> None:
        free, rooms = self._deliveries.room()
        if not free or not rooms:
            return
        names = list(rooms)
        with session.cursor() as row:
            row.execute(
                "SELECT queue_name, message, delivery FROM worker.take_messages(%s, %s, %s, %s, %s)",
                (
                    self._process_id,
                    names,
                    [rooms[name] for name in names],
                    [self._deliveries.policy(name).handicap_ms for name in names],
                    free,
                ),
            )
            taken = row.fetchall()
        for queue_name, text, number in taken:
            self._deliver(queue_name, text, number)
        # Where the batch, or a queue's share of it, came back full there may be more once a thread is free.
        per_queue = Counter(queue_name for queue_name, _, _ in taken)
        self._drained = len(taken) < free and all(
            per_queue[name] < rooms.get(name, 0) for name in self._deliveries.queues
        )

    def _deliver(self, queue_name: str, text: str, number: int) -> None:
        try:
            message: Message[object] = Message.decode(text.encode())
        except (DramatiqError, TypeError, ValueError) as error:
            log.error("message can't be decoded", queue=queue_name, error=type(error).__name__)
            self._on_undecodable(text, number)
            return
        message.options.pop("eta", None)
        # A consumer is looked up by the message's queue, which is the one it was found in.
        self._deliveries.begin(Delivery(message.copy(queue_name=queue_name), number))

    def _look_up_due_time(self, session: connection) -> None:
        with session.cursor() as row:
            row.execute("SELECT worker.next_due_ms(%s)", (self._deliveries.queues,))
            (due_ms,) = row.fetchone() or (None,)
        self._due_at = None if due_ms is None else time.monotonic() + due_ms / 1000
        self._due_unknown = False

    def _wait(self, session: connection) -> None:
        # Notifications that came with a query's answer don't make the socket readable any more.
        seconds = 0.0 if session.notifies else self._wait_seconds()
        ready, _, _ = select.select([session.fileno(), self._wake_reader], [], [], seconds)
        if self._wake_reader in ready:
            _drain(self._wake_reader)
        session.poll()
        notified = bool(session.notifies)
        for notification in session.notifies:
            self._due_unknown |= notification.payload == DELAYED
            self._drained &= notification.payload == DELAYED
        session.notifies.clear()
        if not (ready or notified) or (self._due_at is not None and self._due_at <= time.monotonic()):
            self._drained, self._due_unknown = False, True

    def _wait_seconds(self) -> float:
        poll_seconds = self._poll_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
        if self._due_at is None or not self._drained:
            return poll_seconds
        return max(0.0, min(poll_seconds, self._due_at - time.monotonic()))

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b".")
        except BlockingIOError:
            return  # the pipe is full of earlier wake-ups


def _drain(reader: int) -> None:
    try:
        while os.read(reader, 4096):
            pass
    except BlockingIOError:
        return
