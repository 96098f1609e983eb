"""Keeps the shared limits of one process in step: what it was told to allow, and what its calls came to."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import dramatiq
import psycopg2
import structlog
from dramatiq.middleware import Middleware
from psycopg2.extras import Json

from app.calls import Call, observe_calls
from app.database import Database, database
from app.errors import DatabaseError
from app.http.deadline import was_interrupted
from app.limits.headers import Learnt, learn
from app.limits.outcomes import pause_seconds, provider_failed, rejected_key
from app.limits.passages import count_call
from app.settings import Settings

log = structlog.get_logger(__name__)

#: How often a process tells of its calls; a breaker knows of failures this much later at most.
TELL_SECONDS = 0.25


@dataclass
class _Count:
    calls: int = 0
    failures: int = 0
    error_code: str | None = None


class LimitKeeper(Middleware):
    """Writes the settings' limits at boot and, while the process works, tells of all calls in bunches.

    What others must know before their next call, a Retry-After or a refused key, is told at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._counts: dict[tuple[str, str, str, str], _Count] = defaultdict(_Count)
        self._learnt: dict[tuple[str, str, str], Learnt] = {}
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._limits_stand = False
        self._stop_observing: Callable[[], None] = lambda: None

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Have the limits stand before the first message is taken, and begin to listen."""
        self._stop_observing = observe_calls(self.take_in)
        self._set_limits()
        threading.Thread(target=self._tell_until_stopped, name="lf-worker limits", daemon=True).start()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Tell of the last calls."""
        self._stopping.set()
        self._stop_observing()
        self.tell(database())

    def take_in(self, call: Call) -> None:
        """Count a call, and pass on what can't wait."""
        count_call(call)
        with self._guard:
            count = self._counts[call.provider, call.model, call.key, call.owner or ""]
            count.calls += 1
            if call.failure and provider_failed(call) and not was_interrupted():
                count.failures += 1
                count.error_code = call.failure.code
        pause = pause_seconds(call, self._settings.provider_longest_pause_seconds)
        if pause is not None:
            self._write("SELECT worker.pause_provider(%s, %s, %s, %s)", call, pause)
        key_id = rejected_key(call)
        if key_id is not None:
            seconds = self._settings.key_rejection_seconds
            _attempt("SELECT worker.reject_key(%s, %s, %s)", (key_id, call.provider, seconds))
        self._learn(call)

    def tell(self, database: Database) -> None:
        """Write what was counted since the last time."""
        with self._guard:
            counted, self._counts = self._counts, defaultdict(_Count)
        if not counted:
            return
        told = [
            {"provider": provider, "model": model, "key": key, "owner": owner, **vars(count)}
            for (provider, model, key, owner), count in counted.items()
        ]
        config = self._settings
        _attempt(
            "SELECT worker.record_calls(%s, %s, %s, %s, %s)",
            (
                Json(told),
                config.breaker_window_seconds,
                config.breaker_min_calls,
                config.breaker_failure_rate,
                config.breaker_open_seconds,
            ),
        )

    def _set_limits(self) -> None:
        self._limits_stand = _attempt("SELECT worker.set_limits(%s)", (Json(_rows(self._settings)),))

    def _learn(self, call: Call) -> None:
        """Keep what the answer says of limits, once for as long as it says the same."""
        found = learn(call.limit_headers) if self._settings.learn_provider_limits else Learnt()
        who = (call.provider, call.model, call.key)
        if not found or self._learnt.get(who) == found:
            return
        self._learnt[who] = found
        values = (found.requests_per_minute, found.tokens_per_minute)
        self._write("SELECT worker.learn_limits(%s, %s, %s, %s, %s)", call, *values)

    def _write(self, statement: str, call: Call, *values: float | None) -> None:
        _attempt(statement, (call.provider, call.model, call.key, *values))

    def _tell_until_stopped(self) -> None:
        while not self._stopping.wait(TELL_SECONDS):
            if not self._limits_stand:
                self._set_limits()
            self.tell(database())


def _rows(settings: Settings) -> list[dict[str, str | float | None]]:
    """The limits of the settings, whose names are `provider` or `provider/model`."""
    rows: list[dict[str, str | float | None]] = []
    for name, limit in settings.provider_limits.items():
        provider, _, model = name.strip().partition("/")
        rows.append({"provider": provider, "model": model.strip() or "*", **limit.model_dump()})
    return rows


def _attempt(statement: str, parameters: tuple[object, ...]) -> bool:
    """Write to the database, if it can be; a job's own outcome matters more than that others hear of it."""
    try:
        database().call(statement, parameters)
    except (psycopg2.Error, DatabaseError) as error:
        log.warning("limits could not be written", error=str(error).strip())
        return False
    return True
