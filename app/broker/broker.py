"""A Dramatiq broker on dramatiq-pg's table in which a message belongs to a process by lease.

What differs from the stock broker: messages are taken in batches and only when a thread is free, for all
queues on one connection; delayed messages wait in the table; a process is alive while it renews its lease,
so nothing hangs on session locks; acknowledgements are written in batches and are tried until they succeed.
A process holds three connections, however many queues and threads it has, besides those of its jobs.

It does not protect against a job that runs twice because its process was taken for dead: `app.claims`
does, by refusing the results of all attempts but the newest.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any, cast

import structlog
from dramatiq import Message as DramatiqMessage
from dramatiq import Middleware, Worker
from dramatiq.broker import Consumer
from dramatiq.errors import ConnectionError as BrokerConnectionError
from dramatiq_pg import PostgresBroker
from psycopg2.extensions import cursor

from app.backoff import backoff_ms
from app.broker.deliveries import Delivery, QueuePolicy
from app.broker.envelope import encode
from app.broker.post_office import LeaseConsumer, PostOffice
from app.broker.work_queue import WorkQueue
from app.database import Database
from app.errors import DatabaseAway
from app.settings import Settings

log = structlog.get_logger(__name__)

Message = DramatiqMessage[Any]

_ENQUEUE = "SELECT worker.enqueue_messages(%s::jsonb[], %s::bigint[])"
_RETRY = "SELECT worker.retry_message(%s, %s, %s, %s, %s) AS ours"
_ENQUEUE_UNIQUE = "SELECT worker.enqueue_messages(%s::jsonb[], %s::bigint[], %s::text[])"

#: How long an enqueue outside a transaction is tried while the database is away.
ENQUEUE_RETRY_SECONDS = 60.0

#: Bounds of the pause between two such tries.
MIN_PAUSE_MS, MAX_PAUSE_MS = 50, 1_000

#: Longest name of a Postgres notification channel.
MAX_CHANNEL_BYTES = 63


class LeaseBroker(PostgresBroker):
    """The worker's broker; see the module's text.

    Parameters:
      database: where `enqueue` gets its connections.
      settings: DSN, lease and poll times.
      policies: how a process shares its threads among queues; queues not named share freely.
      enqueue_retry_seconds: how long `enqueue` tries while the database is away.
      middleware: the complete list; there are no defaults, because Dramatiq's own open a port.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        policies: dict[str, QueuePolicy] | None = None,
        enqueue_retry_seconds: float = ENQUEUE_RETRY_SECONDS,
        middleware: Iterable[Middleware] = (),
    ) -> None:
        self._database = database
        self._settings = settings
        self._policies = policies or {}
        self._enqueue_retry_seconds = enqueue_retry_seconds
        self._post: PostOffice | None = None
        super().__init__(
            pool=database,
            results=False,
            schema="dramatiq",
            prefix="",
            # First in the list, so that its shutdown hook runs after everybody else's.
            middleware=[_Lifecycle(), *middleware],
        )

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue known. There is no delay queue: delayed messages wait in the queue itself."""
        if len(f"dramatiq.{queue_name}.enqueue".encode()) > MAX_CHANNEL_BYTES:
            raise ValueError(f"the queue name {queue_name!r} is too long for a notification channel")
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = True
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message, *, delay: int | None = None) -> Message:
        """Send a message, or send it again under its id; `delay` is in milliseconds.

        Raises dramatiq's ConnectionError when the database stays away for too long.
        """
        self.emit_before("enqueue", message, delay)
        if isinstance(message, Delivery):
            self._retry(message, delay or 0)
        else:
            self._call_patiently(_ENQUEUE, ([encode(message)], [delay or 0]))
        self.emit_after("enqueue", message, delay)
        return message

    def _retry(self, delivery: Delivery, delay_ms: int) -> None:
        """Put a delivery back, unless its process was taken for dead and somebody else has it by now."""
        terms = (self.process_id, delivery.message_id, delivery.number, encode(delivery), delay_ms)
        if not self._call_patiently(_RETRY, terms)[0]["ours"]:
            log.warning("retry dropped, the message is another process's", id=delivery.message_id)

    def _call_patiently(self, statement: str, parameters: Any) -> list[dict[str, Any]]:
        give_up_at = time.monotonic() + self._enqueue_retry_seconds
        for failures in itertools.count(1):
            try:
                return self._database.call(statement, parameters)
            except DatabaseAway as error:
                if time.monotonic() > give_up_at:
                    raise BrokerConnectionError(str(error)) from error
                if failures == 1:
                    log.warning("messages wait for the database", error=str(error))
            time.sleep(backoff_ms(failures, min_ms=MIN_PAUSE_MS, max_ms=MAX_PAUSE_MS) / 1000)
        raise AssertionError("the last try returns or raises")

    def enqueue_in(
        self, tx: cursor, *messages: Message, delay_ms: int = 0, unique_key: str | None = None
    ) -> None:
        """Send messages as a part of the caller's transaction, all in one round trip.

        With `unique_key` nothing is sent while another message of that key waits.
        """
        for message in messages:
            self.emit_before("enqueue", message, delay_ms)
        tx.execute(
            _ENQUEUE_UNIQUE,
            (
                [encode(message) for message in messages],
                [delay_ms] * len(messages),
                [unique_key] * len(messages),
            ),
        )
        for message in messages:
            self.emit_after("enqueue", message, delay_ms)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30_000) -> Consumer:
        """A consumer of one queue; Dramatiq's worker calls it for each. `prefetch` has no meaning here."""
        if self._post is None:
            raise RuntimeError("a consumer needs a worker: start one before consuming")
        self._post.deliveries.open_inbox(queue_name)
        self._post.taker.queue_opened()
        return LeaseConsumer(self._post, queue_name, timeout / 1000)

    @property
    def process_id(self) -> str | None:
        """The id under which this process holds its lease, while a worker runs."""
        return self._post.process_id if self._post else None

    def open_post_office(self, threads: int) -> None:
        """Start the threads that carry messages between the table and `threads` worker threads."""
        self._post = PostOffice(self._settings, threads, self._policies)

    def job_began(self, delivery: Delivery) -> None:
        """Note that a thread has begun a job."""
        if self._post:
            self._post.deliveries.began(delivery)

    def end_delivery(self, delivery: Delivery, *, rejected: bool) -> None:
        """End a delivery in place of its thread, whose own ending counts for nothing then."""
        if self._post:
            self._post.end(delivery, rejected=rejected)

    def stop_taking(self) -> None:
        """Take no more messages; what is held goes on."""
        if self._post:
            self._post.taker.stop()

    def close_post_office(self) -> None:
        """Write the last acknowledgements and give back what is still held."""
        if self._post:
            self._post.close()
            self._post = None

    def close(self) -> None:
        """Close the connections of the jobs."""
        self._database.close()


class _Lifecycle(Middleware):
    """Ties the broker's threads to the worker's: no taking after SIGTERM, hand-back at the very end."""

    def before_worker_boot(self, broker: LeaseBroker, worker: Worker) -> None:
        worker.work_queue = cast("Any", WorkQueue())
        broker.open_post_office(worker.worker_threads)

    def before_process_message(self, broker: LeaseBroker, message: Delivery) -> None:
        broker.job_began(message)

    def before_worker_shutdown(self, broker: LeaseBroker, worker: Worker) -> None:
        broker.stop_taking()

    def after_worker_shutdown(self, broker: LeaseBroker, worker: Worker) -> None:
        broker.close_post_office()
