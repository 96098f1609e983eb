"""Every setting of the worker, read once from the environment; one module for each room of the house.

Names and defaults of variables that the platform's documentation already gives are kept; the unit stands
in the field's name. `.env.example` lists them all, and a test keeps it so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import AliasChoices, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.errors import SettingsError
from app.settings.battles import Battles
from app.settings.broker import Broker
from app.settings.budgets import Budgets
from app.settings.chainabit import Chainabit
from app.settings.code_nodes import CodeNodes
from app.settings.costs import Costs
from app.settings.database import Database
from app.settings.lens_runs import LensRuns
from app.settings.limits import Limits
from app.settings.media import Media
from app.settings.processes import Processes
from app.settings.provider_keys import ProviderKeys
from app.settings.providers import Providers
from app.settings.services import Services
from app.settings.supabase import Supabase
from app.settings.teams import Teams
from app.settings.telemetry import Telemetry
from app.settings.votes import Votes
from app.settings.webhooks import Webhooks
from app.settings.workflows import Workflows


# Pydantic takes the fields of the last base first: from the bottom up, this is the order of `.env.example`.
class Settings(
    Telemetry,
    Supabase,
    Media,
    Budgets,
    Costs,
    Limits,
    ProviderKeys,
    Providers,
    Webhooks,
    Teams,
    Services,
    CodeNodes,
    Workflows,
    Chainabit,
    Votes,
    Battles,
    LensRuns,
    Broker,
    Processes,
    Database,
    BaseSettings,
):
    """The worker's settings; frozen, validated, and safe to print because secrets are masked."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)


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
