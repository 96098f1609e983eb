"""Votes, and what a battle's changes begin."""

from __future__ import annotations

from pydantic import BaseModel

from app.settings.fields import env


class Votes(BaseModel):
    """Votes, and what a battle's changes begin."""

    vote_anomaly_enabled: bool = env(
        "PLATFORM_API_VOTE_ANOMALY_WORKER_ENABLED",
        default=True,
        description="Inspect votes, and act on those that are not honest.",
    )
    workflow_dispatch_enabled: bool = env(
        "PLATFORM_API_WORKFLOW_DISPATCH_ENABLED",
        default=True,
        description="Tell workflows of each change of a battle's status.",
    )
