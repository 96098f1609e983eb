"""What this process holds: the messages in its threads and inboxes, and how many more it may take."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from dramatiq import Message
from dramatiq.broker import MessageProxy

#: Jobs shorter than this on average are short compared with a round trip to the database.
SHORT_JOB_SECONDS = 0.02

#: Jobs shorter than this are over before another batch could be taken, however few threads there are.
TINY_JOB_SECONDS = 0.002

#: How many tiny jobs may wait for a thread.
MAX_TINY_AHEAD = 64

#: Weight of the newest job in the moving average of a queue's job times.
JOB_SECONDS_WEIGHT = 0.1


@dataclass(frozen=True)
class QueuePolicy:
    """How a process shares its threads among its queues."""

    #: At most this many messages of the queue at once; None means as many as there are threads.
    max_in_flight: int | None = None
    #: Threads that queues without this can count on, however much waits in all those with it.
    leave_free: int = 0
    #: A waiting message counts as this much younger than it is, so queues with a smaller handicap go first.
    handicap_ms: int = 0

    def cap(self, threads: int) -> int:
        """Most messages of the queue that a process of `threads` threads works on at once; at least one."""
        cap = threads if self.max_in_flight is None else min(self.max_in_flight, threads)
        return max(1, min(cap, threads - self.leave_free))


class Delivery(MessageProxy):
    """A message as it was handed to this process; `number` tells it from later deliveries of the same one."""

    def __init__(self, message: Message[object], number: int) -> None:
        super().__init__(message)
        self.number = number
        self.began_at: float | None = None


class Deliveries:
    """The deliveries that this process holds, thread-safe, and the room it has for more."""

    def __init__(self, threads: int, policies: dict[str, QueuePolicy]) -> None:
        self.threads = threads
        self._policies = policies
        self._inboxes: dict[str, SimpleQueue[Delivery]] = {}
        self._held: dict[tuple[str, int], Delivery] = {}
        self._in_flight: Counter[str] = Counter()
        self._job_seconds: dict[str, float] = {}
        self._guard = threading.Lock()

    def open_inbox(self, queue_name: str) -> None:
        """Begin to take messages of a queue."""
        with self._guard:
            self._inboxes.setdefault(queue_name, SimpleQueue())

    @property
    def queues(self) -> list[str]:
        """The queues this process takes messages of, in the order of their handicap."""
        with self._guard:
            return sorted(self._inboxes, key=lambda name: (self.policy(name).handicap_ms, name))

    def policy(self, queue_name: str) -> QueuePolicy:
        """The policy of a queue; queues without one of their own share freely."""
        return self._policies.get(queue_name, QueuePolicy())

    def room(self) -> tuple[int, dict[str, int]]:
        """How many more messages fit in all, and at most of each queue; full queues are left out.

        Each thread has room for one. Queues of short jobs that may have every thread may have as many again
        waiting for one, or more of tiny ones, so that no thread waits for the next round trip. Queues that
        leave threads free do so together, and are served first where both have room: the rest is for the
        next look.
        """
        with self._guard:
            rooms = {name: self._room_of(name) for name in self._inboxes}
            free = self.threads - len(self._held)
        rooms = {name: room for name, room in rooms.items() if room > 0}
        modest = [room for name, room in rooms.items() if self.policy(name).leave_free]
        return (max(modest) if modest else max([0, free, *rooms.values()])), rooms

    def _room_of(self, queue_name: str) -> int:
        policy, cap = self.policy(queue_name), self._policy_cap(queue_name)
        spare = self._spare_of(queue_name) if cap == self.threads else 0
        room = min(self.threads - len(self._held), cap - self._in_flight[queue_name])
        if policy.leave_free:
            together = sum(count for name, count in self._in_flight.items() if self.policy(name).leave_free)
            room = min(room, max(1, self.threads - policy.leave_free) - together)
        return room + spare

    def _spare_of(self, queue_name: str) -> int:
        job_seconds = self._job_seconds.get(queue_name, 1.0)
        if job_seconds < TINY_JOB_SECONDS:
            return max(self.threads, MAX_TINY_AHEAD)
        return self.threads if job_seconds < SHORT_JOB_SECONDS else 0

    def load(self) -> float:
        """How busy the threads are, from 0 to 1."""
        return min(1.0, len(self._held) / self.threads)

    def began(self, delivery: Delivery) -> None:
        """Note that a thread has begun the delivery's job."""
        delivery.began_at = time.monotonic()

    def begin(self, deliveries: Sequence[Delivery]) -> None:
        """Hold deliveries and put each where its queue's consumer waits."""
        with self._guard:
            for delivery in deliveries:
                self._held[delivery.message_id, delivery.number] = delivery
                self._in_flight[delivery.queue_name] += 1
        for delivery in deliveries:
            self._inboxes[delivery.queue_name].put(delivery)

    def next(self, queue_name: str, timeout_seconds: float) -> Delivery | None:
        """The next delivery of a queue, or None when none came in time."""
        try:
            return self._inboxes[queue_name].get(timeout=timeout_seconds)
        except Empty:
            return None

    def end(self, delivery: Delivery) -> None:
        """Let go of a delivery: its thread is free."""
        with self._guard:
            if self._held.pop((delivery.message_id, delivery.number), None) is None:
                return
            self._in_flight[delivery.queue_name] -= 1
            if delivery.began_at is not None:
                took = time.monotonic() - delivery.began_at
                before = self._job_seconds.get(delivery.queue_name, took)
                self._job_seconds[delivery.queue_name] = before + (took - before) * JOB_SECONDS_WEIGHT

    def held(self) -> list[Delivery]:
        """Every delivery that has not ended."""
        with self._guard:
            return list(self._held.values())

    def _policy_cap(self, queue_name: str) -> int:
        return self.policy(queue_name).cap(self.threads)
