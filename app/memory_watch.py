"""Ends a worker process in good order before the system's killer of large processes does."""

from __future__ import annotations

import os
import signal
import threading

import dramatiq
import structlog
from dramatiq.middleware import Middleware

from app import memory
from app.settings import Settings

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0


class EndsBeforeMemoryDoes(Middleware):
    """Sends its own process SIGTERM once that has more memory than it may, so that no job is lost.

    A process that the system kills loses what its jobs have bought. Whoever started this one starts another.
    """

    def __init__(self, settings: Settings) -> None:
        self._limit_bytes = settings.memory_limit_bytes
        self._stopping = threading.Event()

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin to look, where there is a limit."""
        if self._limit_bytes is not None and memory.resident_bytes() is not None:
            threading.Thread(target=self._look_until_stopped, name="lf-worker memory", daemon=True).start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Look no more."""
        self._stopping.set()

    def _look_until_stopped(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            if not self._has_too_much():
                continue
            memory.give_back()
            if self._has_too_much():
                log.error(
                    "process ends since it has too much memory",
                    residentBytes=memory.resident_bytes(),
                    limitBytes=self._limit_bytes,
                )
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _has_too_much(self) -> bool:
        return (memory.resident_bytes() or 0) > (self._limit_bytes or 0)
