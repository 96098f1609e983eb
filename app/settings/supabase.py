"""Supabase: Storage, and what goes over Realtime."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, SecretStr, ValidationInfo, field_validator

from app.settings.fields import env


class Supabase(BaseModel):
    """Supabase: Storage, and what goes over Realtime."""

    supabase_url: str = env(
        "SUPABASE_URL", default="", description="Root of the Supabase project; needed for Storage."
    )
    supabase_service_role_key: SecretStr = env(
        "SUPABASE_SERVICE_ROLE_KEY",
        default=SecretStr(""),
        description="Service role key; with SUPABASE_URL finished media are copied into Storage.",
    )
    supabase_jwt_secret: SecretStr = env(
        "SUPABASE_JWT_SECRET",
        default=SecretStr(""),
        description="Signs short-lived tokens for Realtime; without it the service role key is the token.",
    )
    realtime_source: Literal["auto", "supabase", "postgres"] = env(
        "WORKER_REALTIME_SOURCE",
        default="auto",
        description="Where hints of new votes come from; auto is Supabase Realtime where it is configured.",
    )
    run_event_transport: Literal["database", "rest", "off"] = env(
        "WORKER_RUN_EVENT_TRANSPORT",
        default="database",
        description="How followers of workflow runs are told: with realtime.send, over HTTP, or not at all.",
    )

    @field_validator("run_event_transport")
    @classmethod
    def _has_what_it_needs(cls, value: str, known: ValidationInfo) -> str:
        key = known.data.get("supabase_service_role_key", SecretStr("")).get_secret_value()
        if value == "rest" and not (known.data.get("supabase_url") and key.strip()):
            raise ValueError("rest needs SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY")
        return value
