"""Begins and ends telemetry in the processes of the worker."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import dramatiq
import structlog
from dramatiq.middleware import Middleware

from app.database import database
from app.settings import Settings
from app.telemetry.recording import record_to

if TYPE_CHECKING:
    from app.telemetry.otlp import OtlpRecorder

log = structlog.get_logger(__name__)


def is_installed() -> bool:
    """Whether the extra `otel` is installed."""
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.exporter") is not None


def is_wanted(settings: Settings) -> bool:
    """Whether an endpoint is configured and the extra there; a missing extra is said in the log."""
    if settings.otel_endpoint and not is_installed():
        log.warning("no telemetry: OTEL_EXPORTER_OTLP_ENDPOINT is set, but lf-worker[otel] is not installed")
        return False
    return bool(settings.otel_endpoint)


class Telemetry(Middleware):
    """Records from a worker's boot to its end, in the child process: threads don't survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recorder: OtlpRecorder | None = None

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin to record, before the first job begins."""
        if is_wanted(self._settings):
            from app.telemetry.otlp import OtlpRecorder

            self._recorder = OtlpRecorder(self._settings)
            record_to(self._recorder)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Send what is left."""
        if self._recorder is not None:
            record_to(None)
            self._recorder.close()
            self._recorder = None


def report_queues(settings: Settings) -> None:
    """Push the queues' gauges from this process for as long as it lives."""
    if is_wanted(settings):
        from app.telemetry.gauges import install_gauges
        from app.telemetry.otlp import meter_provider

        install_gauges(meter_provider(settings), database())
