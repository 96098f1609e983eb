"""Stops what a thread is at once its claim is lost: nobody wants the answer that it waits for."""

from __future__ import annotations

import threading

import dramatiq
import psycopg2
import structlog
from dramatiq.middleware import Middleware

from app.database import database
from app.errors import DatabaseError
from app.handover import find_lost
from app.http.deadline import interrupt
from app.open_claims import open_claims
from app.settings import Settings

log = structlog.get_logger(__name__)


class StopsLostWork(Middleware):
    """Looks at every heartbeat whether open claims are still ours, and ends the calls of those that aren't.

    A job is lost when a person cancels it, or when its process was taken for dead. What the call comes to is
    refused in any case; this gives its thread back, which makes no more calls for it. A process without open
    claims asks nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._interval_seconds = settings.heartbeat_interval_ms / 1000
        self._stopping = threading.Event()

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin to look."""
        self._stopping.clear()
        threading.Thread(target=self._look_until_stopped, name="lf-worker interruption", daemon=True).start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Stop looking; until here a job may still be cancelled."""
        self._stopping.set()

    def _look_until_stopped(self) -> None:
        while not self._stopping.wait(self._interval_seconds):
            held = open_claims.held()
            if not held:
                continue
            try:
                lost = find_lost(database(), [one.claim for one in held.values()])
            except (psycopg2.Error, DatabaseError) as error:
                log.warning("can't see whether claims were lost", error=str(error).strip())
                continue
            for thread_id, claim in ((thread_id, one.claim) for thread_id, one in held.items()):
                if claim.message_id not in lost:
                    continue
                open_claims.refuse_calls(thread_id, claim)
                if interrupt(thread_id):
                    log.info(
                        "broke off a call that is no longer wanted", kind=claim.kind, job=str(claim.job_id)
                    )
