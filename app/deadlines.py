"""Ends jobs that are over their hard time limit although their thread can't be made to.

Dramatiq's TimeLimit raises an exception in the thread, which Python delivers only once the thread runs Python
again. A thread that waits in C, for a lock, a resolver or a library, is past reach. Its connection, if it
waits for one of ours, is broken off at the limit; where that doesn't help either within a grace, the job
ends as `worker.deadline` by the usual rules, the attempt can write nothing more, and another thread takes
the place of the one that hangs.

The ending of a job is not its own time: both clocks stop when it begins.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import dramatiq
import psycopg2
import structlog
from dramatiq.errors import ConnectionError as BrokerConnectionError
from dramatiq.middleware import Middleware, TimeLimit, TimeLimitExceeded

from app.broker import Delivery, LeaseBroker
from app.clock import clock_ended, clock_started
from app.endings import DEADLINE, again, fail_for_good, parse_job, retry_or_fail
from app.errors import DatabaseError, PlatformRefused, PutBack, StaleClaim
from app.http.deadline import interrupt
from app.open_claims import Held, open_claims
from app.settings import Settings
from app.telemetry import JobRecord, job_span

log = structlog.get_logger(__name__)

#: Dramatiq's own limit for actors that name none.
DEFAULT_LIMIT_MS = 600_000.0

#: How often the clock is looked at.
LOOK_SECONDS = 1.0

#: An exception that is on its way to a thread arrives within this time.
ARRIVAL_SECONDS = 0.05


class LimitsJobTime(TimeLimit):
    """Dramatiq's time limit, which lets a job write its ending.

    It uses the manager of threads; a worker of ours has no greenlets.
    """

    manager: Any

    def __init__(self) -> None:
        super().__init__()

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.Message[Any]) -> None:
        """Start the clock."""
        super().before_process_message(broker, message)
        clock_started(self._stop)

    def _stop(self) -> None:
        """Lift the limit; an exception that was on its way has arrived when this ends."""
        thread_id = threading.get_ident()
        with self.manager.mu:
            was_raised = self.manager.deadlines.get(thread_id) is None
            self.manager.deadlines[thread_id] = None
        if was_raised:
            with suppress(TimeLimitExceeded):
                time.sleep(ARRIVAL_SECONDS)


@dataclass
class _Running:
    """A delivery in a thread; `deadline` is on the monotonic clock, in seconds.

    Once its job is settled, `again_ms` is the time until its message is to come again, if it is.
    """

    delivery: Delivery
    deadline: float
    settled: bool = False
    again_ms: int | None = None
    rejected: bool = False


class GivesUpOverdueJobs(Middleware):
    """Watches every thread's deadline; see the module's text.

    A process in which as many threads hang as it began with asks to be started anew.
    """

    def __init__(self, settings: Settings) -> None:
        self._grace_seconds = settings.deadline_grace_ms / 1000
        self._running: dict[int, _Running] = {}
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._hanging: list[threading.Thread] = []

    def after_worker_boot(self, broker: LeaseBroker, worker: dramatiq.Worker) -> None:
        """Begin to look at the clock."""
        self._stopping.clear()
        threading.Thread(
            target=self._look_until_stopped, args=(broker, worker), name="lf-worker deadlines", daemon=True
        ).start()

    def before_worker_shutdown(self, broker: LeaseBroker, worker: dramatiq.Worker) -> None:
        """Stop looking: what is not over by the end of the shutdown is handed back."""
        self._stopping.set()

    def before_process_message(self, broker: LeaseBroker, message: Delivery) -> None:
        """Start the clock."""
        options = broker.get_actor(message.actor_name).options
        limit_ms = message.options.get("time_limit") or options.get("time_limit", DEFAULT_LIMIT_MS)
        with self._guard:
            self._running[threading.get_ident()] = _Running(message, time.monotonic() + limit_ms / 1000)
        clock_started(self._stop)

    def _stop(self) -> None:
        """Stop this thread's clock: its job ends."""
        with self._guard:
            self._running.pop(threading.get_ident(), None)

    def after_process_message(
        self, broker: LeaseBroker, message: Delivery, *, result: object = None, exception: object = None
    ) -> None:
        """Stop the clock."""
        self._stop()
        clock_ended()

    after_skip_message = after_process_message

    def _look_until_stopped(self, broker: LeaseBroker, worker: dramatiq.Worker) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            for thread_id, running in self._overdue():
                interrupt(thread_id)
                if time.monotonic() < running.deadline + self._grace_seconds:
                    continue
                try:
                    self._give_up(broker, worker, thread_id, running)
                except (psycopg2.Error, DatabaseError, BrokerConnectionError) as error:
                    log.warning("can't end an overdue job yet", error=str(error).strip())
                except Exception:
                    log.exception("can't end an overdue job")

    def _overdue(self) -> list[tuple[int, _Running]]:
        now = time.monotonic()
        with self._guard:
            return [(thread, running) for thread, running in self._running.items() if running.deadline < now]

    def _give_up(
        self, broker: LeaseBroker, worker: dramatiq.Worker, thread_id: int, running: _Running
    ) -> None:
        delivery = running.delivery
        if not running.settled:
            held = open_claims.held().get(thread_id)
            running.again_ms = _settle(held, delivery.queue_name) if held else None
            running.settled, running.rejected = True, held is None
        if running.rejected:
            delivery.options["traceback"] = f"{DEADLINE.code}: {DEADLINE.message}"
        if running.again_ms is not None:
            broker.enqueue(cast("Any", delivery), delay=running.again_ms)
        broker.end_delivery(delivery, rejected=running.rejected)
        with self._guard:
            if self._running.get(thread_id) is running:
                del self._running[thread_id]
        log.error("gave up a thread that hangs", actor=delivery.actor_name, id=delivery.message_id)
        self._replace(worker, thread_id)

    def _replace(self, worker: dramatiq.Worker, thread_id: int) -> None:
        """Let the thread end should it ever come back, and start another in its place."""
        hanging = next(thread for thread in worker.workers if thread.ident == thread_id)
        hanging.stop()
        worker.workers.remove(hanging)
        worker._add_worker()
        self._hanging = [*(thread for thread in self._hanging if thread.is_alive()), hanging]
        if len(self._hanging) >= worker.worker_threads:
            log.error("too many threads hang, this process ends", threads=len(self._hanging))
            os.kill(os.getpid(), signal.SIGTERM)


def _settle(held: Held, queue_name: str) -> int | None:
    """End the attempt; the milliseconds until its message is to come again, or None if it isn't."""
    # Its thread may come back at any time and go on with the claim that it has.
    claim = replace(held.claim, calls=list(held.claim.calls), patience_seconds=0.0)
    record = JobRecord(
        claim.kind,
        queue_name,
        str(claim.message_id),
        str(claim.job_id),
        claim.attempt,
        waited_seconds=None,
        began=held.began,
    )
    with (
        structlog.contextvars.bound_contextvars(
            kind=claim.kind, job=str(claim.job_id), attempt=claim.attempt
        ),
        job_span(record),
    ):
        try:
            if claim.hand:  # only its end is left to be done
                claim.release(PutBack(DEADLINE.code, DEADLINE.message), fence=True)
                raise again(0)
            retry_or_fail(held.kind, replace(claim, job=parse_job(held.kind, claim)), DEADLINE, fence=True)
        except dramatiq.Retry as retry:
            return round(retry.delay or 0)
        except PlatformRefused as refused:
            fail_for_good(held.kind, claim, refused)
        except StaleClaim:
            log.info("an overdue job had ended otherwise")
    return None
