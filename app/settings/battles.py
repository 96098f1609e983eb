"""Battles."""

from __future__ import annotations

from pydantic import BaseModel, PositiveInt

from app.settings.fields import env


class Battles(BaseModel):
    """Battles."""

    battle_enabled: bool = env(
        "PLATFORM_API_BATTLE_WORKER_ENABLED",
        default=False,
        description="Execute battle jobs, start battles that are due, and take back abandoned jobs.",
    )
    battle_max_retries: PositiveInt = env(
        "BATTLE_WORKER_MAX_RETRIES",
        default=3,
        description="Tries that a battle job has in all, where its row's max_retries doesn't allow fewer.",
    )
    battle_auto_promote_enabled: bool = env(
        "PLATFORM_API_AUTO_PROMOTE_WORKER_ENABLED",
        default=True,
        description="Open drafts of battles that are to open by themselves.",
    )
    battle_auto_promote_interval_ms: PositiveInt = env(
        "BATTLE_AUTO_PROMOTE_INTERVAL_MS",
        default=300_000,
        description="Time between two looks at such drafts, rounded up to even minutes or hours.",
    )
    battle_finalize_enabled: bool = env(
        "PLATFORM_API_BATTLE_FINALIZE_WORKER_ENABLED",
        default=True,
        description="Close battles whose voting has ended.",
    )
    battle_finalize_interval_ms: PositiveInt = env(
        "BATTLE_FINALIZE_INTERVAL_MS",
        default=60_000,
        description="Time between two looks at such battles, rounded up to minutes or hours likewise.",
    )
