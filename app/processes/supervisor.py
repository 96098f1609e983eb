"""Keeps several processes alive under one that can be told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import structlog

from app import alerts
from app.processes.service import Service

log = structlog.get_logger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: Exit codes: every process ended well when told to; or one didn't.
ENDED_WELL, ENDED_BADLY = 0, 1


class Supervisor:
    """Starts services, starts those anew that end, and passes the wish to stop on to all of them.

    A service that ends whenever it is started is reported and tried again for ever, at long intervals: that
    its siblings go on is worth more than an exit code.

    A first signal has them finish what they are at; a second one, or the end of the grace time, kills what is
    left. Run it in the main thread: the children end with the thread that started them.
    """

    def __init__(self, services: Sequence[Service], *, grace_seconds: float) -> None:
        self._services = services
        self._grace_seconds = grace_seconds
        #: Signals that came in; safe to be filled by their handler.
        self._signals: SimpleQueue[int] = SimpleQueue()

    def run(self) -> int:
        """Keep the services alive until told to stop, and return the exit code."""
        with self._hearing_signals():
            try:
                self._keep_alive()
                ended_well = self._stop()
            finally:
                for service in self._services:
                    service.kill()
        return ENDED_WELL if ended_well else ENDED_BADLY

    def _keep_alive(self) -> None:
        """Look after the services until told to stop."""
        while True:
            self._start_those_due()
            if self._is_told_to_stop(self._seconds_to_next_start()):
                return
            for service in self._services:
                code = service.take_end()
                if code is not None:
                    self._plan_restart(service, code)

    def _start_those_due(self) -> None:
        for service in self._services:
            if service.due_at is not None and service.due_at <= time.monotonic():
                log.info("process started", process=service.name, pid=service.start())

    def _plan_restart(self, service: Service, code: int) -> None:
        pause_seconds = service.plan_restart()
        log.warning("process ended", process=service.name, exitCode=code, restartSeconds=pause_seconds)
        if service.keeps_ending:
            log.error("process ends whenever it is started", process=service.name, exitCode=code)
            alerts.process_keeps_ending(service.name, code)

    def _stop(self) -> bool:
        """Have all services end; whether they did so in time and well."""
        alive = [service for service in self._services if service.is_alive]
        log.info("stopping", processes=[service.name for service in alive], graceSeconds=self._grace_seconds)
        for service in alive:
            service.terminate()
        give_up_at = time.monotonic() + self._grace_seconds
        ended_well = True
        while alive:
            is_told_again = self._is_told_to_stop(give_up_at - time.monotonic())
            for service in list(alive):
                code = service.take_end()
                if code is not None:
                    alive.remove(service)
                    ended_well &= code in {0, -signal.SIGTERM}
                    log.info("process stopped", process=service.name, exitCode=code)
            if alive and (is_told_again or time.monotonic() >= give_up_at):
                log.error("killed before it had finished", processes=[service.name for service in alive])
                return False
        return ended_well

    def _seconds_to_next_start(self) -> float | None:
        due = [service.due_at for service in self._services if service.due_at is not None]
        return min(due) - time.monotonic() if due else None

    def _is_told_to_stop(self, timeout_seconds: float | None) -> bool:
        """Wait for a signal; False if it only says that a child has ended, or when the time is up."""
        try:
            timeout = None if timeout_seconds is None else max(timeout_seconds, 0.0)
            return self._signals.get(timeout=timeout) in STOPPING
        except Empty:
            return False

    @contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        heard = (*STOPPING, signal.SIGCHLD)
        before = {
            number: signal.signal(number, lambda number, _frame: self._signals.put(number))
            for number in heard
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
