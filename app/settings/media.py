"""Media."""

from __future__ import annotations

from pydantic import BaseModel, PositiveFloat, PositiveInt

from app.settings.fields import env


class Media(BaseModel):
    """Media."""

    media_poll_interval_ms: PositiveInt = env(
        "ASYNC_MEDIA_POLL_INTERVAL_MS",
        default=15_000,
        description="First time between two questions how far a media task is; it grows to four times this.",
    )
    media_task_expiry_seconds: PositiveFloat = env(
        "WORKER_MEDIA_TASK_EXPIRY_SECONDS",
        default=900.0,
        description="A media task that a provider has not finished within this time fails.",
    )
    media_transfer_timeout_ms: PositiveInt = env(
        "WORKER_MEDIA_TRANSFER_TIMEOUT_MS",
        default=120_000,
        description="Total deadline of fetching a finished medium, and again of storing it.",
    )
    media_max_bytes: PositiveInt = env(
        "WORKER_MEDIA_MAX_BYTES",
        default=100_000_000,
        description="Larger media are refused; the limit of the bucket that they go to counts too.",
    )
    media_inline_max_bytes: PositiveInt = env(
        "WORKER_MEDIA_INLINE_MAX_BYTES",
        default=2_000_000,
        description="Without Supabase Storage, media without a URL are stored as data URIs up to this size.",
    )
