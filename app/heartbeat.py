"""Tells the platform's health panel that this process is alive and what it is at."""

from __future__ import annotations

import threading
from importlib.metadata import version
from typing import Any

import dramatiq
import psycopg2
import structlog
from dramatiq.middleware import Middleware
from psycopg2.extras import Json

from app.database import database
from app.errors import DatabaseError
from app.identity import worker_id
from app.open_claims import open_claims
from app.settings import Settings

log = structlog.get_logger(__name__)


class Heartbeat(Middleware):
    """Writes a heartbeat at a fixed interval, and a last one with `stopping` when a shutdown begins.

    Off unless FEATURE_WORKER_HEALTH_MONITORING is on. A beat that can't be written is logged and left out.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._queues: list[str] = []

    def after_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Begin to beat."""
        if self._settings.health_monitoring:
            self._queues = sorted(worker.consumers)
            threading.Thread(target=self._beat_until_stopped, name="lf-worker heartbeat", daemon=True).start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Say that the process is stopping; running jobs still get their time."""
        if self._settings.health_monitoring:
            self._stopping.set()
            self._beat("stopping")

    def _beat_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._beat("running")
            self._stopping.wait(self._settings.heartbeat_interval_ms / 1000)

    def _beat(self, status: str) -> None:
        metadata: dict[str, Any] = {
            "status": status,
            "capabilities": self._queues,
            "in_flight": len(open_claims),
            "version": version("lf-worker"),
        }
        try:
            database().call(
                "SELECT fn_worker_upsert_heartbeat(%s, %s, %s)",
                (worker_id(self._settings), "lf-worker", Json(metadata)),
            )
        except (psycopg2.Error, DatabaseError) as error:
            log.warning("heartbeat failed", error=str(error).strip())
