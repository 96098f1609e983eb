"""The database."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, SecretStr, field_validator

from app.settings.dsn import read_dsn
from app.settings.fields import env


class Database(BaseModel):
    """The database."""

    database_url: SecretStr = Field(
        validation_alias="DATABASE_URL",
        description="Postgres DSN: a direct connection or a pooler in session mode, never transaction mode.",
    )
    database_pool_max_connections: Annotated[int, Field(ge=2)] = env(
        "WORKER_DATABASE_POOL_MAX_CONNECTIONS",
        default=3,
        description="Connections a process shares among its jobs; the broker holds up to three more.",
    )
    database_pool_wait_seconds: PositiveFloat = env(
        "WORKER_DATABASE_POOL_WAIT_SECONDS",
        default=30.0,
        description="How long a thread waits for a free connection, or for Postgres to come back.",
    )
    database_statement_timeout_ms: PositiveInt = env(
        "WORKER_DATABASE_STATEMENT_TIMEOUT_MS",
        default=60_000,
        description="Statement and idle-in-transaction timeout of every session.",
    )

    @field_validator("database_url")
    @classmethod
    def _as_one_uri(cls, value: SecretStr) -> SecretStr:
        return SecretStr(read_dsn(value.get_secret_value()))
