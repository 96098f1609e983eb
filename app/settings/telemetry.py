"""Alerts, telemetry and logs."""

from __future__ import annotations

from pydantic import BaseModel, PositiveInt, SecretStr, field_validator

from app.settings.fields import env


class Telemetry(BaseModel):
    """Alerts, telemetry and logs."""

    sentry_dsn: SecretStr = env("SENTRY_DSN", default=SecretStr(""), description="Sentry is off when blank.")
    sentry_environment: str = env(
        "SENTRY_ENVIRONMENT", default="production", description="Environment that alerts are filed under."
    )
    otel_endpoint: str = env(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        default="",
        description="Root of an OTLP/HTTP collector; OpenTelemetry is off when blank. Needs lf-worker[otel].",
    )
    otel_headers: SecretStr = env(
        "OTEL_EXPORTER_OTLP_HEADERS",
        default=SecretStr(""),
        description="Headers for the collector: names and values with commas between the pairs.",
    )
    otel_service_name: str = env(
        "OTEL_SERVICE_NAME", default="lf-worker", description="Name that spans and metrics are filed under."
    )
    otel_metric_export_interval_ms: PositiveInt = env(
        "OTEL_METRIC_EXPORT_INTERVAL", default=60_000, description="Time between two exports of metrics."
    )
    log_level: str = env("LOG_LEVEL", default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        level = value.strip().upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return level
