"""Keeps this process's lease, and rescues the messages of processes that lost theirs."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from psycopg2.extensions import connection

from app.broker.deliveries import Deliveries
from app.broker.sessions import SessionThread

log = structlog.get_logger(__name__)

#: A lease is renewed this often in its length, so that a slow statement or two don't cost it.
RENEWALS_PER_LEASE = 3.5

_RENEW = """
    SELECT worker.renew_lease(%s, %s, %s, %s), CASE WHEN %s THEN worker.rescue_messages(%s, %s) ELSE 0 END,
           worker.return_forgotten_messages(%s, %s::uuid[], %s::integer[], %s, %s),
           worker.raise_floors(%s, %s)
"""

#: A renewal looks at the messages of so many seconds, and one every so often at all that there are: while
#: somebody keeps an old view of the database, what has gone must be walked over too.
RECENT_SECONDS = 20.0
LOOKS_AT_EVERYTHING_SECONDS = 30.0


class Lease(SessionThread):
    """Renews the lease on a session of its own, whatever the other threads of the process do.

    A C call that doesn't let go of the interpreter stops this thread too. So the open session itself counts
    as a sign of life: it is closed by the kernel when the process dies, and by nothing that only keeps it
    busy. That buys a silent process up to `stall_seconds`, not for ever: one that is stuck for good, or
    frozen, is taken for dead then.

    With the lease the process says which messages it knows of. Those that only the table gives to it come
    again: nobody else could find them while this process lives.

    Nothing is rescued during the first lease after a (re)connect: when the database was away, every
    process's lease ran out, and the first one back must not take the running jobs of all the others.
    """

    def __init__(  # noqa: PLR0913  # the terms of a lease, by name
        self,
        dsn: str,
        process_id: str,
        deliveries: Deliveries,
        *,
        worker_id: str,
        threads: int,
        lease_seconds: float,
        stall_seconds: float,
        on_begun: Callable[[], None],
    ) -> None:
        super().__init__(dsn, "lease")
        self._deliveries = deliveries
        self._terms = (process_id, worker_id, threads, lease_seconds)
        self._lease_seconds = lease_seconds
        self._patience_seconds = max(0.0, stall_seconds - lease_seconds)
        self._on_begun = on_begun
        self._held_before = False
        # Whoever comes back from an outage must do so before the first one back begins to rescue.
        self.longest_pause_seconds = min(self.longest_pause_seconds, lease_seconds / 3)

    def serve(self, session: connection) -> None:
        """Renew and rescue until stopped; at first, when rescuing begins and now and then at everything."""
        with session.cursor() as row:
            row.execute("SELECT worker.attend_process(%s)", (self._terms[0],))
        everything_from = time.monotonic()
        rescue_from = everything_from + self._lease_seconds
        while not self._stopping.is_set():
            now = time.monotonic()
            rescue, everything = now >= rescue_from, now >= everything_from
            self._renew(session, rescue=rescue, everything=everything)
            if everything:
                everything_from = now + LOOKS_AT_EVERYTHING_SECONDS if rescue else rescue_from
            self._stopping.wait(self._lease_seconds / RENEWALS_PER_LEASE)

    def _renew(self, session: connection, *, rescue: bool, everything: bool) -> None:
        recent_seconds = None if everything else RECENT_SECONDS
        looked_at = time.monotonic()
        known = self._deliveries.held()
        with session.cursor() as row:
            row.execute(
                _RENEW,
                (
                    *self._terms,
                    rescue,
                    self._patience_seconds,
                    everything,
                    self._terms[0],
                    [delivery.message_id for delivery in known],
                    [delivery.number for delivery in known],
                    # What came since the look is not forgotten, should this thread be held up after it.
                    self._lease_seconds + time.monotonic() - looked_at,
                    recent_seconds,
                    self._deliveries.queues,
                    recent_seconds,
                ),
            )
            is_new, rescued, forgotten, _ = row.fetchone() or (False, 0, 0, None)
        if is_new:
            if self._held_before:
                log.warning("lease was lost", process=self._terms[0], lease_seconds=self._lease_seconds)
            self._held_before = True
            self._on_begun()
        if rescued:
            log.warning("rescued messages of dead processes", messages=rescued)
        if forgotten:
            log.warning("gave back messages that got lost on their way here", messages=forgotten)
