"""How a request of a node says who asks: a credential of a connector, in a header or in the query."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from app.http import Response
from app.nodes.credentials import credential_of
from app.nodes.settings import NodeSettings, spelled
from app.nodes.task import Task
from app.redaction import conceal, remember_secret


def _lower(value: object) -> object:
    return value.strip().lower() or "none" if isinstance(value, str) else value


class Authentication(NodeSettings):
    """The `auth` of a request; `connector_ref` names whose credential it carries."""

    type: Annotated[Literal["none", "bearer", "basic", "header", "api_key"], BeforeValidator(_lower)] = "none"
    connector_ref: str = ""
    scopes: list[str] = Field(default_factory=list)
    header_name: str = ""
    param_name: str = Field(default="", validation_alias=spelled("paramName", "queryParam"))
    prefix: str = ""
    place: Literal["header", "query"] = Field(default="header", validation_alias=spelled("in", "place"))

    @model_validator(mode="after")
    def _is_complete(self) -> Authentication:
        if self.type != "none" and not self.connector_ref:
            raise ValueError("auth_connector_ref_required: it needs a connectorRef")
        if self.type == "header" and not self.header_name:
            raise ValueError("it needs a headerName")
        return self


def read_authentication(value: object) -> object:
    """Forms store only the word; a missing one is none."""
    if isinstance(value, str):
        return {"type": value}
    return {} if value is None else value


@dataclass(frozen=True)
class Proof:
    """What goes onto the request, which is never shown; nor are the secrets in it."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def missing_from(self, response: Response) -> Response:
        """The response without the secrets: services that tell what they were sent are common."""
        headers = {
            name: conceal(value.encode(), *self.secrets).decode() for name, value in response.headers.items()
        }
        return replace(response, headers=headers, body=conceal(response.body, *self.secrets))


def prove(task: Task[Any], auth: Authentication) -> Proof:
    """Get the credential and put it where the settings say; raises `NodeFailure` `credential_unavailable`."""
    if auth.type == "none":
        return Proof()
    secret = credential_of(task, auth.connector_ref, auth.scopes)
    match auth.type:
        case "bearer":
            return Proof(headers={"Authorization": f"Bearer {secret}"}, secrets=(secret,))
        case "basic":
            encoded = base64.b64encode(secret.encode()).decode("ascii")
            remember_secret(encoded)
            return Proof(headers={"Authorization": f"Basic {encoded}"}, secrets=(secret, encoded))
        case "api_key" if auth.place == "query":
            return Proof(query={auth.param_name or "api_key": secret}, secrets=(secret,))
        case _:
            name = auth.header_name or "X-API-Key"
            return Proof(headers={name: f"{auth.prefix}{secret}"}, secrets=(secret,))
