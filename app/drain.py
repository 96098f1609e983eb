"""Do everything that is to be done now: run each sweep, then work until nothing due is left.

Messages that are due later, such as a retry after a backoff, stay where they are, and so does what waits in a
paused queue. What other processes hold is theirs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import dramatiq
import structlog
from dramatiq.middleware import Middleware

from app.broker import LeaseBroker
from app.database import database

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1

#: What is still running when a drain is interrupted gets this long.
SHUTDOWN_MS = 25_000

#: Tickets that were lost are added so often at most: some rows count as claimable and can't be claimed yet.
MOST_ROUNDS = 3

_IS_BUSY = """
    SELECT EXISTS (
        SELECT FROM dramatiq.queue q LEFT JOIN worker.queue_controls c ON c.queue_name = q.queue_name
        WHERE q.queue_name = ANY (%(queues)s)
          AND ((q.state = 'queued' AND q.mtime <= now() AND NOT coalesce(c.paused, false))
               OR (q.state = 'consumed' AND q.owner = %(process)s::uuid))) AS busy
"""
_ADD_TICKETS = """
    SELECT coalesce(sum(worker.add_missing_tickets(k.kind)), 0) AS added
    FROM worker.kinds k WHERE k.actor = ANY (%s)
"""
_OUTCOMES = """
    SELECT c.kind, coalesce(c.outcome, 'tried again later') AS outcome, count(*) AS jobs
    FROM worker.claims c WHERE c.message_id = ANY (%s::uuid[]) GROUP BY 1, 2 ORDER BY 1, 2
"""
_REJECTED = """
    SELECT q.message ->> 'actor_name' AS actor, count(*) AS messages
    FROM dramatiq.queue q WHERE q.message_id = ANY (%s::uuid[]) AND q.state = 'rejected' GROUP BY 1 ORDER BY 1
"""
_LEFT = """
    SELECT q.queue_name AS queue, count(*) AS messages, coalesce(bool_or(c.paused), false) AS paused,
           extract(epoch FROM greatest(min(q.mtime) - now(), interval '0'))::float AS next_in_seconds
    FROM dramatiq.queue q LEFT JOIN worker.queue_controls c ON c.queue_name = q.queue_name
    WHERE q.queue_name = ANY (%s) AND q.state = 'queued' GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True)
class Drained:
    """What a drain came to.

    `jobs` counts jobs by kind and by how they ended; `rejected` counts messages without a job that failed for
    good, such as sweeps, by actor. `left` has the queues in which messages wait for a later time.
    """

    jobs: dict[str, dict[str, int]] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    left: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Jobs that became dead letters, and messages that were rejected."""
        ends = (outcomes.get(name, 0) for outcomes in self.jobs.values() for name in ("failed", "poison"))
        return sum(ends) + sum(self.rejected.values())

    def as_json(self) -> dict[str, Any]:
        """The same as one JSON object."""
        return {**asdict(self), "failed": self.failed}


def drain(broker: LeaseBroker, *, threads: int, stop: threading.Event) -> Drained:
    """Work in this process until nothing due is left, or until `stop` is set."""
    began = time.monotonic()
    seen = _SeenMessages()
    broker.add_middleware(seen)
    queues = list(broker.queues)
    with _working(broker, threads):
        _send_sweeps(broker)
        for _ in range(MOST_ROUNDS):
            _await_idleness(broker, queues, stop)
            if stop.is_set() or not database().call(_ADD_TICKETS, (list(broker.actors),))[0]["added"]:
                break
    return _sum_up(seen.ids, queues, interrupted=stop.is_set(), seconds=time.monotonic() - began)


class _SeenMessages(Middleware):
    """Remembers which messages this process worked on."""

    def __init__(self) -> None:
        self.ids: set[UUID] = set()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self.ids.add(UUID(message.message_id))


@contextmanager
def _working(broker: LeaseBroker, threads: int) -> Iterator[None]:
    worker = dramatiq.Worker(broker, worker_threads=threads)
    worker.start()
    try:
        yield
    finally:
        worker.stop(timeout=SHUTDOWN_MS)


def _send_sweeps(broker: LeaseBroker) -> None:
    for actor in broker.actors.values():
        if "periodic" in actor.options:
            actor.send(off_timetable=True)


def _await_idleness(broker: LeaseBroker, queues: list[str], stop: threading.Event) -> None:
    terms = {"queues": queues, "process": broker.process_id}
    while database().call(_IS_BUSY, terms)[0]["busy"]:
        if stop.wait(POLL_SECONDS):
            return


def _sum_up(seen: set[UUID], queues: list[str], *, interrupted: bool, seconds: float) -> Drained:
    ids = list(seen)
    jobs: dict[str, dict[str, int]] = {}
    for row in database().call(_OUTCOMES, (ids,)):
        jobs.setdefault(row["kind"], {})[row["outcome"]] = row["jobs"]
    rejected = {row["actor"]: row["messages"] for row in database().call(_REJECTED, (ids,))}
    left = database().call(_LEFT, (queues,))
    return Drained(jobs, rejected, left, interrupted, round(seconds, 3))
