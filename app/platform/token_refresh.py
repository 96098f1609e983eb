"""Refreshing access tokens that end soon, once for all processes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import structlog
from psycopg2.extensions import cursor
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from app.database import Database
from app.errors import GiveUp, RetryLater
from app.http import OutboundError, Response, guarded_client
from app.platform.rows import only_row
from app.redaction import remember_secret
from app.settings import Settings, settings

log = structlog.get_logger(__name__)

#: The whole call to the token endpoint; a database session is held meanwhile.
REFRESH_SECONDS = 10.0

_GOOGLE_TOKENS = "https://oauth2.googleapis.com"
_FIND = "SELECT fn_oauth_get_connection_for_refresh(%s, %s) AS due"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('worker.token_refresh'), hashtext(%s))"
_KEEP = "SELECT fn_oauth_upsert_connection(%s, %s, %s, %s, %s, %s, %s, %s::text[], %s)"

#: One refresh at a time holds a database session in each process; a second one would hold another.
_one_at_a_time = threading.Lock()


class _Due(BaseModel):
    """A connection whose token ends soon."""

    model_config = ConfigDict(hide_input_in_errors=True)

    connection_id: UUID
    workspace_id: UUID
    refresh_token: SecretStr
    expires_at: datetime | None
    granted_scopes: list[str]
    provider: str
    capability: str

    @property
    def has_expired(self) -> bool:
        """Whether the stored token is known to be of no use any more."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


#: No token lives for longer than ten years; a date must be able to hold its end.
MOST_SECONDS = 10 * 365 * 24 * 3600


class _Tokens(BaseModel):
    """What the token endpoint gives (RFC 6749, 5.1); scopes that it leaves out are as they were."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    expires_in: int = Field(default=3600, gt=0, le=MOST_SECONDS)
    refresh_token: SecretStr | None = None
    scope: str | None = None


class _Failure(BaseModel):
    """What it says when it gives none (RFC 6749, 5.2)."""

    model_config = ConfigDict(extra="ignore")

    error: str = Field(default="", pattern=r"[a-z_]{0,64}")


def refresh_if_due(database: Database, lenser_id: UUID, ref: str, label: str) -> None:
    """Renew a Google connection's token if it ends within five minutes; others are left as they are.

    A token that is still good outlives a refresh that fails. Raises GiveUp `connector.revoked` and
    RetryLater `connector.refresh_failed` for one that isn't.
    """
    configured = settings()
    if not configured.google_oauth_client_id or not configured.google_oauth_client_secret.get_secret_value():
        return
    if _read(database.call(_FIND, (lenser_id, ref))[0]) is None:
        return
    with _one_at_a_time, database.transaction() as tx:
        tx.execute(_LOCK, (f"{lenser_id} {ref}",))
        due = _find(tx, lenser_id, ref)
        if due is None:
            return  # somebody else has just done it
        try:
            tokens = _ask_google(configured, due)
        except (GiveUp, RetryLater) as error:
            if due.has_expired:
                raise
            log.warning("a token that ends soon could not be refreshed", code=error.code, connection=ref)
            return
        _keep(tx, lenser_id, label, due, tokens)


def _find(tx: cursor, lenser_id: UUID, ref: str) -> _Due | None:
    tx.execute(_FIND, (lenser_id, ref))
    return _read(only_row(tx))


def _read(row: dict[str, Any]) -> _Due | None:
    due = _Due.model_validate(row["due"]) if row["due"] else None
    return due if due and due.provider == "google" else None


def _ask_google(configured: Settings, due: _Due) -> _Tokens:
    secret = configured.google_oauth_client_secret.get_secret_value()
    refresh_token = due.refresh_token.get_secret_value()
    for each in (secret, refresh_token):
        remember_secret(each)
    form = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": configured.google_oauth_client_id,
        "client_secret": secret,
    }
    try:
        response = guarded_client().request(
            "POST",
            f"{configured.root_of('google_oauth', _GOOGLE_TOKENS)}/token",
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            body=urlencode(form).encode(),
            deadline_seconds=REFRESH_SECONDS,
        )
    except OutboundError as error:
        raise RetryLater("connector.refresh_failed", f"Google gave no token: {error.message}") from None
    return _read_tokens(response)


def _read_tokens(response: Response) -> _Tokens:
    try:
        if response.status == 200:
            return _Tokens.model_validate_json(response.json_body)
        failure = _Failure.model_validate_json(response.json_body)
    except ValidationError:
        failure = _Failure()
    if failure.error == "invalid_grant":
        raise GiveUp("connector.revoked", "Google has withdrawn the connection; connect it again")
    said = failure.error or f"status {response.status}"
    raise RetryLater("connector.refresh_failed", f"Google gave no token: {said}")


def _keep(tx: cursor, lenser_id: UUID, label: str, due: _Due, tokens: _Tokens) -> None:
    renewed = tokens.refresh_token.get_secret_value() if tokens.refresh_token else None
    for each in (tokens.access_token.get_secret_value(), renewed):
        remember_secret(each or "")
    parameters = (
        lenser_id,
        due.workspace_id,
        due.provider,
        due.capability,
        label,
        tokens.access_token.get_secret_value(),
        renewed,
        tokens.scope.split() if tokens.scope else due.granted_scopes,
        datetime.now(UTC) + timedelta(seconds=tokens.expires_in),
    )
    tx.execute(_KEEP, parameters)
