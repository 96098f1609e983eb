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

    memory_limit_mb: PositiveInt | None = env(
        "WORKER_MEMORY_LIMIT_MB",
        default=None,
        description="A worker process with more ends in good order; unset, its part of the machine's.",
    )

    @property
    def memory_limit_bytes(self) -> int | None:
        """What one worker process may have in memory, if anything says so."""
        return None if self.memory_limit_mb is None else self.memory_limit_mb << 20

    @property
    def instance_id(self) -> str:
        """The worker's id: the configured one, else the host's name."""
        return self.worker_id.strip() or socket.gethostname()
