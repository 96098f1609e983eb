"""Writes how deliveries ended, many in one statement, off the threads that do the work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import structlog
from psycopg2.extensions import connection
from psycopg2.extras import Json

from app.broker.sessions import SessionThread

log = structlog.get_logger(__name__)

#: How many endings one statement writes at most.
MAX_BATCH = 500


@dataclass(frozen=True)
class Ended:
    """One delivery that ended; a rejected one becomes a dead letter.

    `message` is what a dead letter is to hold, encoded; None leaves what is there.
    """

    message_id: str
    number: int
    rejected: bool = False
    message: bytes | None = None


class Finisher(SessionThread):
    """Acknowledges and rejects messages in the order they came, and tries for ever while it runs.

    An ending that is never written costs nothing but a second delivery, which finds its claim finished.
    """

    def __init__(self, dsn: str, process_id: str) -> None:
        super().__init__(dsn, "finisher")
        self._process_id = process_id
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._batch: list[Ended] = []

    def write(self, ended: Ended) -> None:
        """Have an ending written soon; returns at once."""
        self._ended.put(ended)

    def stop(self) -> None:
        """Write what is there, give back what the process still holds, and end."""
        super().stop()
        self._ended.put(None)

    def serve(self, session: connection) -> None:
        """Write endings until stopped, then give back whatever is left."""
        while not (self._stopping.is_set() and self._ended.empty() and not self._batch):
            self._collect()
            self._write_batch(session)
        with session.cursor() as row:
            row.execute("SELECT worker.return_messages(%s)", (self._process_id,))
            row.execute("DELETE FROM worker.processes WHERE id = %s", (self._process_id,))

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

    def _write_batch(self, session: connection) -> None:
        done = [ended for ended in self._batch if not ended.rejected]
        dead = [ended for ended in self._batch if ended.rejected]
        with session.cursor() as row:
            if done:
                row.execute(
                    "SELECT worker.acknowledge_messages(%s, %s::uuid[], %s)",
                    (self._process_id, [e.message_id for e in done], [e.number for e in done]),
                )
            if dead:
                row.execute(
                    "SELECT worker.reject_messages(%s, %s::uuid[], %s, %s::jsonb[])",
                    (
                        self._process_id,
                        [e.message_id for e in dead],
                        [e.number for e in dead],
                        [Json(json.loads(e.message)) if e.message else None for e in dead],
                    ),
                )
        self._batch = []
