"""Chainabit."""

from __future__ import annotations

from pydantic import BaseModel, PositiveInt, SecretStr

from app.settings.fields import env


class Chainabit(BaseModel):
    """Chainabit."""

    chainabit_execution_enabled: bool = env(
        "CHAINABIT_EXECUTION_ENABLED",
        default=False,
        description="Have every battle job executed by Chainabit instead of the providers.",
    )
    chainabit_api_url: str = env("CHAINABIT_API_URL", default="", description="Root of Chainabit's API.")
    chainabit_partner_api_key: SecretStr = env(
        "CHAINABIT_PARTNER_API_KEY", default=SecretStr(""), description="The platform's key at Chainabit."
    )
    chainabit_poll_interval_ms: PositiveInt = env(
        "WORKER_CHAINABIT_POLL_INTERVAL_MS",
        default=2_000,
        description="Time between two questions how far a session is.",
    )
    chainabit_timeout_ms: PositiveInt = env(
        "WORKER_CHAINABIT_TIMEOUT_MS",
        default=300_000,
        description="A session that has not ended within this time fails its job.",
    )
