"""Credentials of the services that people have connected: found by name, kept fresh, never shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg2
from pydantic import SecretStr

from app.database import Database
from app.errors import GiveUp
from app.platform.token_refresh import refresh_if_due
from app.platform.workflows import WorkflowRun
from app.redaction import remember_secret

_REF = re.compile(r"([a-z][a-z0-9_]{0,31})\.([a-z][a-z0-9_]{0,31})\.([a-z0-9][a-z0-9_-]{0,47})")
#: The form in which the builder stores a reference.
_STORED = re.compile(r"\[\[:connector:(.*)\]\]")

#: What fn_oauth_resolve_connection raises, by SQLSTATE: a code of the house, and words for people.
_REFUSALS = {
    "P0002": ("connector.not_found", "is not connected, or was revoked"),
    "42501": ("connector.scope_missing", "was not granted what is needed; connect it again with more rights"),
    "P0001": ("connector.token_missing", "has no token in the vault; connect it again"),
}


@dataclass(frozen=True)
class ConnectorRef:
    """The name of a connection: which account of which service, such as `github.repos.work`."""

    provider: str
    capability: str
    label: str

    @classmethod
    def parse(cls, text: str) -> ConnectorRef:
        """Read a reference, bare or as the builder stores it; raises ValueError for anything else."""
        stored = _STORED.fullmatch(text.strip())
        found = _REF.fullmatch((stored[1] if stored else text).strip())
        if found is None:
            raise ValueError("a connector is named provider.capability.label")
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"{self.provider}.{self.capability}.{self.label}"


def resolve_credential(
    database: Database, run: WorkflowRun, ref: str | ConnectorRef, scopes: Sequence[str] = ()
) -> SecretStr:
    """The access token of a connection that the run may use, with every scope asked for.

    A run has the rights of its workflow's owner, and of its agent if that is the owner's; one that somebody
    else has started has none. Tokens that end soon are refreshed before.
    Raises GiveUp with a `connector.…` code, or RetryLater when a token has to be refreshed and can't be now.
    """
    named = _read(ref) if isinstance(ref, str) else ref
    holder = _find_holder(database, run.run_id, named)
    refresh_if_due(database, holder, str(named), named.label)
    token = _fetch_token(database, holder, named, scopes)
    remember_secret(token)
    return SecretStr(token)


def _read(ref: str) -> ConnectorRef:
    try:
        return ConnectorRef.parse(ref)
    except ValueError:
        # Of any other connector the platform keeps nothing but hashes of its tokens.
        raise GiveUp(
            "connector.unusable", "the connector is not of the form provider.capability.label"
        ) from None


def _find_holder(database: Database, run_id: UUID, ref: ConnectorRef) -> UUID:
    rows = database.call("SELECT worker.fn_connection_holder(%s, %s) AS holder", (run_id, str(ref)))
    holder: UUID | None = rows[0]["holder"]
    if holder is None:
        raise GiveUp(
            "connector.not_found", f"the workflow's owner has no connection {ref} that this run may use"
        )
    return holder


def _fetch_token(database: Database, holder: UUID, ref: ConnectorRef, scopes: Sequence[str]) -> str:
    try:
        rows = database.call(
            "SELECT fn_oauth_resolve_connection(%s, %s, %s::text[]) AS token",
            (holder, str(ref), list(scopes)),
        )
    except psycopg2.Error as error:
        code, reason = _REFUSALS.get(error.pgcode or "", ("connector.unavailable", "can't be read"))
        wanted = f" ({', '.join(scopes)})" if code == "connector.scope_missing" else ""
        raise GiveUp(code, f"the connection {ref} {reason}{wanted}") from None
    token: str | None = rows[0]["token"]
    if not token:
        raise GiveUp("connector.token_missing", f"the connection {ref} has no token; connect it again")
    return token
