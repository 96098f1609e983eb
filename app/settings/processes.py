"""Who this process is, and how it shows that it lives."""

from __future__ import annotations

import socket

from pydantic import BaseModel, PositiveInt

from app.settings.fields import env


class Processes(BaseModel):
    """Who this process is, and how it shows that it lives."""

    worker_id: str = env(
        "BATTLE_WORKER_ID",
        default="",
        description="Stable id of this worker in heartbeats and claims; the host name when blank.",
    )
    health_monitoring: bool = env(
        "FEATURE_WORKER_HEALTH_MONITORING",
        default=False,
        description="Write heartbeats for the health panel.",
    )
    heartbeat_interval_ms: PositiveInt = env(
        "WORKER_HEARTBEAT_INTERVAL_MS",
        default=10_000,
        description="Time between heartbeats; the panel calls a worker dead after 30 s.",
    )
    worker_once: bool = env(
        "PLATFORM_API_WORKER_ONCE",
        default=False,
        description="`lf-worker run` does what there is to do and ends, like `lf-worker once`.",
    )

    process_number: PositiveInt | None = env(
        "WORKER_PROCESS_NUMBER",
        default=None,
        description="Number among the worker processes of one machine, set by `lf-worker run`.",
    )

    @property
    def instance_id(self) -> str:
        """The worker's id: the configured one, else the host's name."""
        return self.worker_id.strip() or socket.gethostname()
