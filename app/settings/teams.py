"""Team runs."""

from __future__ import annotations

from pydantic import BaseModel, PositiveInt

from app.settings.fields import env


class Teams(BaseModel):
    """Team runs."""

    team_run_enabled: bool = env(
        "PLATFORM_API_TEAM_RUN_WORKER_ENABLED", default=False, description="Execute queued team runs."
    )
    team_run_timeout_ms: PositiveInt = env(
        "WORKER_TEAM_RUN_TIMEOUT_MS",
        default=1_800_000,
        description="Total deadline of a team's discussion of a shared task, for each attempt at it.",
    )
    team_max_rounds: PositiveInt = env(
        "WORKER_TEAM_MAX_ROUNDS",
        default=3,
        description="Times that a team does its work, sent back by reviewers, before it fails.",
    )
