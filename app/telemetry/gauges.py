"""What `lf-worker status` shows of the queues, as gauges.

They are the database's figures and the same for every process, so one process reports them: the scheduler.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider

from app.database import Database
from app.errors import DatabaseAway

log = structlog.get_logger(__name__)

#: One reading serves all gauges of an export.
_FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class _Gauge:
    """A gauge: the statement whose rows it reads, the column with its value, and the one that divides it."""

    name: str
    unit: str
    description: str
    statement: str
    column: str
    label: str


_KINDS = "SELECT * FROM worker.kind_status()"
_QUEUES = "SELECT * FROM worker.queues"
_PROCESSES = """
    SELECT CASE WHEN lease_until > now() THEN 'alive' ELSE 'lost' END AS lease, count(*) AS processes
    FROM worker.processes GROUP BY 1
"""
_KIND, _QUEUE = "lf_worker.job.kind", "messaging.destination.name"

GAUGES = (
    _Gauge("lf_worker.jobs.queued", "{job}", "Rows that wait for a worker.", _KINDS, "queued", _KIND),
    _Gauge("lf_worker.jobs.in_flight", "{job}", "Jobs that a worker is at.", _KINDS, "in_flight", _KIND),
    _Gauge("lf_worker.jobs.retrying", "{job}", "Jobs between two attempts.", _KINDS, "retrying", _KIND),
    _Gauge("lf_worker.jobs.stuck", "{job}", "Jobs whose message nobody holds.", _KINDS, "stuck", _KIND),
    _Gauge(
        "lf_worker.jobs.dead_letters", "{job}", "Jobs that failed for good.", _KINDS, "dead_letters", _KIND
    ),
    _Gauge("lf_worker.queue.waiting", "{message}", "Messages that are due.", _QUEUES, "waiting", _QUEUE),
    _Gauge(
        "lf_worker.queue.oldest_age",
        "s",
        "Time since the oldest of them was due.",
        _QUEUES,
        "oldest_waiting_seconds",
        _QUEUE,
    ),
    _Gauge(
        "lf_worker.processes",
        "{process}",
        "Worker processes by whether they hold their lease.",
        _PROCESSES,
        "processes",
        "lf_worker.lease",
    ),
)
_LABEL_COLUMNS = {_KIND: "kind", _QUEUE: "queue_name", "lf_worker.lease": "lease"}


class _Readings:
    """Rows of statements, kept for the moment that one export takes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[str, tuple[float, Sequence[dict[str, Any]]]] = {}
        self._is_away = False

    def of(self, statement: str) -> Sequence[dict[str, Any]]:
        """The rows; none while the database is away, which is said once."""
        read_at, rows = self._kept.get(statement, (-_FRESH_SECONDS, []))
        if time.monotonic() - read_at >= _FRESH_SECONDS:
            try:
                rows = self._database.call(statement)
                self._is_away = False
            except DatabaseAway as error:
                if not self._is_away:
                    log.warning("no figures for the gauges", error=str(error))
                self._is_away, rows = True, []
            self._kept[statement] = (time.monotonic(), rows)
        return rows


def install_gauges(provider: MeterProvider, database: Database) -> None:
    """Have the provider read every gauge at each export; where the database is away there is no value."""
    meter, readings = provider.get_meter("lf_worker"), _Readings(database)
    for gauge in GAUGES:
        meter.create_observable_gauge(
            gauge.name, [_observe(gauge, readings)], unit=gauge.unit, description=gauge.description
        )


def _observe(gauge: _Gauge, readings: _Readings) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        for row in readings.of(gauge.statement):
            # An empty queue has no oldest message: its age is nothing, not unknown.
            yield Observation(float(row[gauge.column] or 0), {gauge.label: row[_LABEL_COLUMNS[gauge.label]]})

    return observe
