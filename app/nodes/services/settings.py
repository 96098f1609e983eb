"""What the settings of all services' nodes have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StringConstraints

from app.nodes.effects import SendSettings
from app.platform.connectors import ConnectorRef
from app.texts.json_text import parse_json
from app.texts.pasted import pasted_name


def _read_ref(text: str) -> str:
    """The bare form of a reference, however it is stored."""
    return str(ConnectorRef.parse(pasted_name(text)))


def _blank_to_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _as_text(value: object) -> object:
    """Ids that look like a number were read as one."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_list(value: object) -> object:
    """Forms store lists as words between commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _as_object(value: object) -> object:
    return parse_json(value) if isinstance(value, str) and value.strip() else value


Ref = Annotated[str, AfterValidator(_read_ref)]
OptionalRef = Annotated[Ref | None, BeforeValidator(_blank_to_none)]
Words = Annotated[list[str], BeforeValidator(_as_list)]
Text = Annotated[str, BeforeValidator(_as_text)]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000),
    BeforeValidator(_as_text),
]
#: An id as a service gives it: never anything that a path or a query reads in its own way.
Id = Annotated[
    str,
    StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_-]{1,120}$"),
    BeforeValidator(_as_text),
]
OptionalId = Annotated[Id | None, BeforeValidator(_blank_to_none)]
Fields = Annotated[dict[str, JsonValue], BeforeValidator(_as_object)]


class Connected(SendSettings):
    """The settings of a node that needs a connection."""

    connector_ref: Ref


class MaybeConnected(SendSettings):
    """The settings of a node that can do without, where everybody may."""

    connector_ref: OptionalRef = Field(default=None)


def ref_of(config: Any) -> ConnectorRef | None:
    """The connection that settings name."""
    return ConnectorRef.parse(config.connector_ref) if config.connector_ref else None
