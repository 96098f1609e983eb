"""Lens runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt

from app.settings.fields import env


class LensRuns(BaseModel):
    """Lens runs."""

    lens_run_enabled: bool = env(
        "PLATFORM_API_LENS_RUN_WORKER_ENABLED", default=True, description="Execute queued lens runs."
    )
    async_media_poll_enabled: bool = env(
        "PLATFORM_API_ASYNC_MEDIA_POLL_ENABLED",
        default=True,
        description="Take over and poll lens runs that another producer started at a provider.",
    )
    async_poll_batch_limit: Annotated[int, Field(ge=1, le=50)] = env(
        "ASYNC_POLL_BATCH_LIMIT",
        default=10,
        description="How many runs of other producers are taken over in one statement.",
    )
    async_poll_stale_after_seconds: PositiveInt = env(
        "ASYNC_POLL_STALE_AFTER_SECONDS",
        default=30,
        description="A run of another producer is taken over when nobody polled it for this long.",
    )
