"""Writes how deliveries ended, many in one statement, off the threads that do the work."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import psycopg2
import structlog
from psycopg2.extensions import connection
from psycopg2.extras import Json

from app.broker.sessions import SessionThread

log = structlog.get_logger(__name__)

#: How long a stopping process tries to write its last acknowledgements and give back the rest.
HAND_BACK_SECONDS = 5.0

#: How many endings one statement writes at most.
MAX_BATCH = 500


@dataclass(frozen=True)
class Ended:
    """One delivery that ended; a rejected one becomes a dead letter.

    `message` is what a dead letter is to hold; None leaves what is there.
    """

    message_id: str
    number: int
    rejected: bool = False
    message: Json | None = None


class Finisher(SessionThread):
    """Acknowledges and rejects messages, and tries for ever while it runs.

    An ending that is never written costs nothing but a second delivery, which finds its claim finished.
    """

    def __init__(self, dsn: str, process_id: str) -> None:
        super().__init__(dsn, "finisher")
        self._process_id = process_id
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._batch: list[Ended] = []
        self._handed_back = False
        self._give_up_at = math.inf

    def write(self, ended: Ended) -> None:
        """Have an ending written soon; returns at once."""
        self._ended.put(ended)

    def is_done(self) -> bool:
        """Whether everything is written and the rest given back, or there was no way to do so in time."""
        return self._handed_back or time.monotonic() > self._give_up_at

    def stop(self) -> None:
        """Write what is there, give back what the process still holds, and end."""
        self._give_up_at = time.monotonic() + HAND_BACK_SECONDS
        super().stop()
        self._ended.put(None)

    def serve(self, session: connection) -> None:
        """Write endings until stopped, then give back whatever is left."""
        while not (self._stopping.is_set() and self._ended.empty() and not self._batch):
            self._collect()
            self._write(session, self._batch)
            self._batch = []
        with session.cursor() as row:
            row.execute("SELECT worker.return_messages(%s, p_to_front => true)", (self._process_id,))
            row.execute("DELETE FROM worker.processes WHERE id = %s", (self._process_id,))
        self._handed_back = True

    def _collect(self) -> None:
        if not self._batch:
            first = self._ended.get()
            self._batch = [first] if first else []
        while len(self._batch) < MAX_BATCH:
            try:
                ended = self._ended.get_nowait()
            except Empty:
                return
            if ended:
                self._batch.append(ended)

    def _write(self, session: connection, batch: list[Ended]) -> None:
        done = [ended for ended in batch if not ended.rejected]
        dead = [ended for ended in batch if ended.rejected]
        if done:
            self._acknowledge(session, done)
        try:
            if dead:
                self._reject(session, dead)
        except psycopg2.DataError:
            # One of them can't be stored as it is: its row keeps the message that it has.
            log.warning("dead letters keep their first message", messages=len(dead))
            self._reject(session, [Ended(ended.message_id, ended.number, rejected=True) for ended in dead])

    def _acknowledge(self, session: connection, done: list[Ended]) -> None:
        with session.cursor() as row:
            row.execute(
                "SELECT worker.acknowledge_messages(%s, %s::uuid[], %s)",
                (self._process_id, [e.message_id for e in done], [e.number for e in done]),
            )

    def _reject(self, session: connection, dead: list[Ended]) -> None:
        with session.cursor() as row:
            row.execute(
                "SELECT worker.reject_messages(%s, %s::uuid[], %s, %s::jsonb[])",
                (
                    self._process_id,
                    [e.message_id for e in dead],
                    [e.number for e in dead],
                    [e.message for e in dead],
                ),
            )
