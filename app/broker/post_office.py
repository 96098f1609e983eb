"""What carries messages between the table and a process's worker threads: three threads."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import structlog
from dramatiq.broker import Consumer

from app.broker.deliveries import Deliveries, Delivery, QueuePolicy
from app.broker.envelope import encode
from app.broker.finisher import HAND_BACK_SECONDS, Ended, Finisher
from app.broker.lease import Lease
from app.broker.taker import Taker
from app.identity import worker_id
from app.settings import Settings

log = structlog.get_logger(__name__)


class PostOffice:
    """The three threads of a process, and what they share."""

    def __init__(self, settings: Settings, threads: int, policies: dict[str, QueuePolicy]) -> None:
        dsn = settings.database_url.get_secret_value()
        self.process_id = str(uuid.uuid4())
        self.deliveries = Deliveries(threads, policies)
        self.finisher = Finisher(dsn, self.process_id)
        self.taker = Taker(
            dsn,
            self.process_id,
            self.deliveries,
            poll_seconds=settings.broker_poll_seconds,
            finisher=self.finisher,
        )
        self.lease = Lease(
            dsn,
            self.process_id,
            self.deliveries,
            worker_id=worker_id(settings),
            threads=threads,
            lease_seconds=settings.broker_lease_seconds,
            stall_seconds=settings.broker_stall_seconds,
            on_begun=self.taker.lease_begun,
        )
        for thread in (self.lease, self.finisher, self.taker):
            thread.start()

    def end(self, delivery: Delivery, *, rejected: bool) -> None:
        """Free the delivery's thread and have its ending written."""
        message = encode(delivery) if rejected else None
        self.finisher.write(Ended(delivery.message_id, delivery.number, rejected, message))
        self.deliveries.end(delivery)
        self.taker.thread_freed()

    def close(self) -> None:
        """Write the last endings, give back what is still held, and stop the threads."""
        for thread in (self.taker, self.lease, self.finisher):
            thread.stop()
            thread.join(HAND_BACK_SECONDS)
            if thread.is_alive():
                log.warning("thread did not end in time; the lease will run out", thread=thread.name)


class LeaseConsumer(Consumer):
    """One queue's messages, as Dramatiq's consumer thread wants them."""

    def __init__(self, post: PostOffice, queue_name: str, timeout_seconds: float) -> None:
        self._post = post
        self._queue_name = queue_name
        self._timeout_seconds = timeout_seconds

    def __next__(self) -> Delivery | None:
        return self._post.deliveries.next(self._queue_name, self._timeout_seconds)

    def ack(self, message: Delivery) -> None:
        """End a message that is done."""
        self._post.end(message, rejected=False)

    def nack(self, message: Delivery) -> None:
        """End a message that failed for good."""
        self._post.end(message, rejected=True)

    def requeue(self, messages: Iterable[Delivery]) -> None:
        """Nothing to do: what a process still holds when its worker has stopped is given back together."""

    def close(self) -> None:
        """Nothing to close: the connections belong to the process."""
