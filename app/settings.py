"""Every setting of the worker, read once from the environment.

Names and defaults of variables that the platform's documentation already gives are kept; the unit stands
in the field's name. `.env.example` lists them all, and a test keeps it so.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    AliasChoices,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import SettingsError


def _env(*names: str, default: Any, description: str) -> Any:
    return Field(default=default, validation_alias=AliasChoices(*names), description=description)


def _key(*names: str, owner: str) -> Any:
    return _env(
        *names, default=SecretStr(""), description=f"Platform key for {owner}. Blank counts as unset."
    )


class Settings(BaseSettings):
    """The worker's settings; frozen, validated, and safe to print because secrets are masked."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)

    # The database
    database_url: SecretStr = Field(
        validation_alias="DATABASE_URL",
        description="Postgres DSN: a direct connection or a pooler in session mode, never transaction mode.",
    )
    database_pool_max_connections: PositiveInt = _env(
        "WORKER_DATABASE_POOL_MAX_CONNECTIONS",
        default=3,
        description="Connections a process shares among its jobs; the broker holds up to three more.",
    )
    database_pool_wait_seconds: PositiveFloat = _env(
        "WORKER_DATABASE_POOL_WAIT_SECONDS",
        default=30.0,
        description="How long a thread waits for a free connection, or for Postgres to come back.",
    )
    database_statement_timeout_ms: PositiveInt = _env(
        "WORKER_DATABASE_STATEMENT_TIMEOUT_MS",
        default=60_000,
        description="Statement and idle-in-transaction timeout of every session.",
    )

    # Who this process is
    worker_id: str = _env(
        "BATTLE_WORKER_ID",
        default="",
        description="Stable id of this worker in heartbeats and claims; the host name when blank.",
    )
    health_monitoring: bool = _env(
        "FEATURE_WORKER_HEALTH_MONITORING",
        default=False,
        description="Write heartbeats for the health panel.",
    )
    heartbeat_interval_ms: PositiveInt = _env(
        "WORKER_HEARTBEAT_INTERVAL_MS",
        default=10_000,
        description="Time between heartbeats; the panel calls a worker dead after 30 s.",
    )

    # The broker
    broker_lease_seconds: PositiveFloat = _env(
        "WORKER_BROKER_LEASE_SECONDS",
        default=7.0,
        description="A process silent for this long is taken for dead and its messages go to others.",
    )
    broker_poll_seconds: PositiveFloat = _env(
        "WORKER_BROKER_POLL_SECONDS",
        default=5.0,
        description="Poll interval that covers lost notifications.",
    )

    # Retries
    job_max_attempts: PositiveInt = _env(
        "WORKER_JOB_MAX_ATTEMPTS", default=5, description="Errors a job may have before it fails for good."
    )
    job_max_deaths: PositiveInt = _env(
        "WORKER_JOB_MAX_DEATHS",
        default=3,
        description="Workers that may die of a job before it is taken for poison.",
    )
    retry_min_backoff_ms: PositiveInt = _env(
        "WORKER_RETRY_MIN_BACKOFF_MS", default=500, description="First retry backoff, before jitter."
    )
    retry_max_backoff_ms: PositiveInt = _env(
        "WORKER_RETRY_MAX_BACKOFF_MS",
        default=60_000,
        description="Longest retry backoff; a provider's Retry-After is honoured up to ten times this.",
    )

    # Kinds of work
    lens_run_enabled: bool = _env(
        "PLATFORM_API_LENS_RUN_WORKER_ENABLED", default=True, description="Execute queued lens runs."
    )

    # AI providers
    echo_provider: bool = _env(
        "ECHO_PROVIDER",
        "USE_ECHO_PROVIDER",
        default=False,
        description="Serve every model by echoing the prompt: offline, keyless, for development.",
    )
    echo_latency_ms: Annotated[int, Field(ge=0)] = _env(
        "WORKER_ECHO_LATENCY_MS", default=0, description="How long the echo provider takes to answer."
    )
    provider_timeout_ms: PositiveInt = _env(
        "WORKER_PROVIDER_TIMEOUT_MS",
        default=120_000,
        description="Total deadline of one provider call, from connecting to the last byte.",
    )
    openai_api_key: SecretStr = _key("OPENAI_API_KEY", owner="OpenAI")
    anthropic_api_key: SecretStr = _key("ANTHROPIC_API_KEY", owner="Anthropic")
    google_api_key: SecretStr = _key(
        "GOOGLE_AI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", owner="Google AI"
    )
    google_vertex_api_key: SecretStr = _key("GOOGLE_VERTEX_API_KEY", owner="Google Vertex AI")
    mistral_api_key: SecretStr = _key("MISTRAL_API_KEY", owner="Mistral")
    deepseek_api_key: SecretStr = _key("DEEPSEEK_API_KEY", owner="DeepSeek")
    openai_base_url: str = _env(
        "OPENAI_BASE_URL", default="https://api.openai.com/v1", description="Root of OpenAI's API."
    )
    anthropic_base_url: str = _env(
        "ANTHROPIC_BASE_URL", default="https://api.anthropic.com", description="Root of Anthropic's API."
    )
    google_base_url: str = _env(
        "GOOGLE_GEMINI_BASE_URL",
        default="https://generativelanguage.googleapis.com",
        description="Root of Google's Gemini API.",
    )
    google_vertex_base_url: str = _env(
        "GOOGLE_VERTEX_BASE_URL",
        default="https://aiplatform.googleapis.com",
        description="Root of Google's Vertex AI API.",
    )
    mistral_base_url: str = _env(
        "MISTRAL_BASE_URL", default="https://api.mistral.ai/v1", description="Root of Mistral's API."
    )
    deepseek_base_url: str = _env(
        "DEEPSEEK_BASE_URL", default="https://api.deepseek.com", description="Root of DeepSeek's API."
    )
    ollama_base_url: str = _env(
        "LENSERFIGHT_OLLAMA_BASE_URL",
        "OLLAMA_BASE_URL",
        default="http://localhost:11434",
        description="Root of the local Ollama server.",
    )

    # Telemetry
    sentry_dsn: SecretStr = _env("SENTRY_DSN", default=SecretStr(""), description="Sentry is off when blank.")
    sentry_environment: str = _env(
        "SENTRY_ENVIRONMENT", default="production", description="Environment that alerts are filed under."
    )
    log_level: str = _env("LOG_LEVEL", default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("postgres://", "postgresql://")):
            raise ValueError("must begin with postgres:// or postgresql://")
        return value

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        level = value.strip().upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return level

    @property
    def instance_id(self) -> str:
        """The worker's id: the configured one, else the host's name."""
        return self.worker_id.strip() or socket.gethostname()


def load_settings(**overrides: Any) -> Settings:
    """Read and validate the environment.

    Raises `SettingsError` with one line that names every variable at fault, without its value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("; ".join(sorted(_describe(problem) for problem in error.errors()))) from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read at first use."""
    return load_settings()


def _describe(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    if problem["type"] == "missing":
        return f"{name} is not set"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {message[0].lower()}{message[1:]}"


def environment_names() -> list[str]:
    """Every environment variable that a field reads, in the order of the fields."""
    names: list[str] = []
    for field in Settings.model_fields.values():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        names.extend(str(choice) for choice in choices if choice)
    return names
