"""Webhooks, and other requests to hosts that users name."""

from __future__ import annotations

import re
from ipaddress import ip_network

from pydantic import BaseModel, PositiveInt, SecretStr, field_validator

from app.settings.fields import env


class Webhooks(BaseModel):
    """Webhooks, and other requests to hosts that users name."""

    outbound_allowed_hosts: str = env(
        "WORKER_OUTBOUND_ALLOWED_HOSTS",
        default="",
        description="Hosts, host:port pairs and networks that may be private or plain http; for development.",
    )
    webhook_drain_enabled: bool = env(
        "PLATFORM_API_WEBHOOK_DRAIN_ENABLED", default=True, description="Deliver the webhooks of the outbox."
    )
    webhook_timeout_ms: PositiveInt = env(
        "WORKER_WEBHOOK_TIMEOUT_MS",
        default=15_000,
        description="Total deadline of one webhook, from looking up the host to the last byte.",
    )
    webhook_retry_delays_seconds: str = env(
        "WORKER_WEBHOOK_RETRY_DELAYS_SECONDS",
        default="5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Waits between attempts at one webhook, before a jitter of 20 %; then it is given up.",
    )
    webhook_previous_signing_secret: SecretStr = env(
        "WORKER_WEBHOOK_PREVIOUS_SIGNING_SECRET",
        default=SecretStr(""),
        description="The replaced platform secret, while receivers change over; signs beside the new one.",
    )

    @field_validator("outbound_allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        for entry in value.split(","):
            if "/" in entry:
                ip_network(entry.strip())
            elif set(entry.strip()) & set("*@% "):
                raise ValueError(f"{entry.strip()!r} is not a host, host:port or network")
        return value

    @field_validator("webhook_retry_delays_seconds")
    @classmethod
    def _are_delays(cls, value: str) -> str:
        if not re.fullmatch(r"\s*\d+(\.\d+)?\s*(,\s*\d+(\.\d+)?\s*)*", value):
            raise ValueError("must be numbers of seconds with commas between them")
        return value
