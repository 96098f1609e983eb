"""Takes due messages out of the table for every queue of the process, a batch in one statement."""

from __future__ import annotations

import math
import random
import time
from collections import Counter

import structlog
from psycopg2.extensions import connection

from app.broker.deliveries import Deliveries, Delivery
from app.broker.envelope import decode
from app.broker.finisher import Ended, Finisher
from app.broker.notifications import Notifications, WakeUp
from app.broker.sessions import SessionThread

log = structlog.get_logger(__name__)

#: Notifications of a delayed message begin with this word. Its delay in milliseconds follows; where that is
#: missing, there is a new due time to look up.
DELAYED = "delayed"
LONGEST_DELAY_DIGITS = 15

#: Poll interval where notifications can't be heard.
DEAF_POLL_SECONDS = 1.0

#: A busy process lets idle ones go first by up to this much, so that a notification causes no race.
MAX_COURTESY_SECONDS = 0.001


class Taker(SessionThread):
    """Waits for notifications, due times and free threads, and takes as much as the threads can hold.

    A poll covers notifications that were lost, and does alone where none can be heard. A thread that
    becomes free causes no query unless something may wait in a queue that it makes room for.
    """

    def __init__(
        self,
        dsn: str,
        process_id: str,
        deliveries: Deliveries,
        *,
        poll_seconds: float,
        finisher: Finisher,
    ) -> None:
        super().__init__(dsn, "taker")
        self._process_id = process_id
        self._deliveries = deliveries
        self._longest_poll_seconds = poll_seconds
        self._poll_seconds = poll_seconds
        self._finisher = finisher
        self._wake_up = WakeUp()
        self._poll_at = 0.0
        # The queues in which something may wait.
        self._undrained: frozenset[str] = frozenset()
        self._look_again = False
        self._due_unknown = True
        self._due_at: float | None = None

    def thread_freed(self) -> None:
        """Tell the taker that it has room again."""
        if self._undrained:
            self._wake_up.set()

    def queue_opened(self) -> None:
        """Tell the taker that there is one more queue to listen on."""
        self._wake_up.set()

    def lease_begun(self) -> None:
        """Tell the taker that the process has a lease: before, and after a loss, nothing is handed out."""
        self._look_again = True
        self._wake_up.set()

    def stop(self) -> None:
        """Take nothing more."""
        super().stop()
        self._wake_up.set()

    def serve(self, session: connection) -> None:
        """Take messages until stopped."""
        notifications = Notifications(session, self._wake_up)
        self._choose_poll_interval(notifications)
        self._look_everywhere()
        while not self._stopping.is_set():
            if notifications.listen(self._deliveries.queues):
                self._look_everywhere()
            # In this order: what falls due between the two is taken.
            if self._due_unknown:
                self._look_up_due_time(session)
            if self._undrained:
                self._take(session)
            self._wait(notifications)

    def _choose_poll_interval(self, notifications: Notifications) -> None:
        self._poll_seconds = self._longest_poll_seconds
        if not notifications.arrive():
            self._poll_seconds = min(DEAF_POLL_SECONDS, self._longest_poll_seconds)
            log.warning(
                "no notification can be heard, is this a pooler in transaction mode? polling instead",
                poll_seconds=self._poll_seconds,
            )

    def _look_everywhere(self) -> None:
        self._undrained, self._due_unknown = frozenset(self._deliveries.queues), True
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - not a secret
        self._poll_at = time.monotonic() + self._poll_seconds * jitter

    def _take(self, session: connection) -> None:
        limit, rooms = self._deliveries.room()
        if self._undrained.isdisjoint(rooms):
            return
        names = list(rooms)
        with session.cursor() as row:
            row.execute(
                "SELECT * FROM worker.take_messages(%s, %s, %s, %s, %s)",
                (
                    self._process_id,
                    names,
                    [rooms[name] for name in names],
                    [self._deliveries.policy(name).handicap_ms for name in names],
                    limit,
                ),
            )
            taken = row.fetchall()
        self._deliver(taken)
        # Where the batch, or a queue's share of it, came back full there may be more once a thread is free.
        per_queue = Counter(queue_name for _, queue_name, _, _ in taken)
        full = {name for name in names if len(taken) == limit or per_queue[name] == rooms[name]}
        self._undrained = self._undrained.difference(names) | full
        if not self._undrained.isdisjoint(self._deliveries.room()[1]):
            self._wake_up.set()  # there are free threads already, so none that becomes free will ask for more

    def _deliver(self, taken: list[tuple[str, str, str | None, int]]) -> None:
        deliveries = []
        for message_id, queue_name, text, number in taken:
            try:
                deliveries.append(Delivery(decode(message_id, queue_name, text), number))
            except ValueError as error:
                log.error("unreadable message rejected", id=message_id, queue=queue_name, reason=str(error))
                self._finisher.write(Ended(message_id, number, rejected=True))
        self._deliveries.begin(deliveries)

    def _look_up_due_time(self, session: connection) -> None:
        with session.cursor() as row:
            row.execute("SELECT worker.next_due_ms(%s)", (self._deliveries.queues,))
            (due_ms,) = row.fetchone() or (None,)
        self._due_at = None if due_ms is None else time.monotonic() + due_ms / 1000
        self._due_unknown = False

    def _wait(self, notifications: Notifications) -> None:
        heard = notifications.wait(self._wait_seconds())
        if self._look_again or min(self._poll_at, self._due_at or math.inf) <= time.monotonic():
            self._look_again = False
            self._look_everywhere()
            return
        for queue_name, word in heard:
            self._hear(queue_name, word)
        if heard and self._undrained:
            time.sleep(self._deliveries.load() * random.uniform(0, MAX_COURTESY_SECONDS))  # noqa: S311 - jitter

    def _hear(self, queue_name: str, payload: str) -> None:
        word, _, delay_ms = payload.partition(" ")
        if word == DELAYED and delay_ms.isdecimal() and len(delay_ms) <= LONGEST_DELAY_DIGITS:
            due_at = time.monotonic() + int(delay_ms) / 1000
            self._due_at = due_at if self._due_at is None else min(self._due_at, due_at)
            return
        # A delay of a millisecond is over by now, so a delayed message is looked for like any other.
        self._undrained |= {queue_name}
        self._due_unknown |= word == DELAYED

    def _wait_seconds(self) -> float:
        until = self._poll_at
        # While something waits for a thread, what falls due waits for one too.
        if self._due_at is not None and not (self._undrained and not self._deliveries.room()[1]):
            until = min(until, self._due_at)
        return max(0.0, until - time.monotonic())
