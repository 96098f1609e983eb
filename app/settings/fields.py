"""How a room of settings writes a field down."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field, SecretStr


def env(*names: str, default: Any, description: str) -> Any:
    """A field that is read from the first of these environment variables that is set."""
    return Field(default=default, validation_alias=AliasChoices(*names), description=description)


def key(*names: str, owner: str) -> Any:
    """The platform's own key for somebody's API."""
    return env(*names, default=SecretStr(""), description=f"Platform key for {owner}. Blank counts as unset.")
