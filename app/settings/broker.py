"""The broker, and the retries of what it hands out."""

from __future__ import annotations

from pydantic import BaseModel, NonNegativeInt, PositiveFloat, PositiveInt

from app.settings.fields import env


class Broker(BaseModel):
    """The broker, and the retries of what it hands out."""

    broker_lease_seconds: PositiveFloat = env(
        "WORKER_BROKER_LEASE_SECONDS",
        default=7.0,
        description="A process silent for this long is taken for dead and its messages go to others.",
    )
    broker_stall_seconds: PositiveFloat = env(
        "WORKER_BROKER_STALL_SECONDS",
        default=30.0,
        description="The same for a silent process whose connection is still open: it is held up, not gone.",
    )
    broker_poll_seconds: PositiveFloat = env(
        "WORKER_BROKER_POLL_SECONDS",
        default=5.0,
        description="Poll interval that covers lost notifications.",
    )
    retention_days: PositiveFloat = env(
        "WORKER_RETENTION_DAYS",
        default=14.0,
        description="Finished claims and dead letters of the broker are deleted after this.",
    )
    vacuum_dead_rows: NonNegativeInt = env(
        "WORKER_VACUUM_DEAD_ROWS",
        default=1_000,
        description="Dead rows with which a table of the worker's is vacuumed; 0 leaves it to autovacuum.",
    )
    vacuum_interval_seconds: PositiveFloat = env(
        "WORKER_VACUUM_INTERVAL_SECONDS",
        default=15.0,
        description="How often each process looks for such tables, and least time between a table's vacuums.",
    )
    job_max_attempts: PositiveInt = env(
        "WORKER_JOB_MAX_ATTEMPTS", default=5, description="Errors a job may have before it fails for good."
    )
    job_max_deaths: PositiveInt = env(
        "WORKER_JOB_MAX_DEATHS",
        default=3,
        description="Workers that may die of a job before it is taken for poison.",
    )
    retry_min_backoff_ms: PositiveInt = env(
        "WORKER_RETRY_MIN_BACKOFF_MS", default=500, description="First retry backoff, before jitter."
    )
    retry_max_backoff_ms: PositiveInt = env(
        "WORKER_RETRY_MAX_BACKOFF_MS",
        default=60_000,
        description="Longest retry backoff; a provider's Retry-After is honoured up to ten times this.",
    )
    deadline_grace_ms: PositiveInt = env(
        "WORKER_DEADLINE_GRACE_MS",
        default=10_000,
        description="A job this far over its hard time limit is ended without its thread, which is given up.",
    )
