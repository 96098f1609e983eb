"""Supabase Storage: where finished media are put, over its HTTP API, with the service role's key."""

from __future__ import annotations

from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from app.errors import GiveUp, RetryLater
from app.http.deadline import total_deadline
from app.providers.transport import http_client
from app.redaction import redact, remember_secret
from app.settings import Settings


class _Refusal(BaseModel):
    """How Storage says no: the real status may stand in the body of a 400."""

    model_config = ConfigDict(extra="ignore")

    statusCode: int | None = None  # noqa: N815  # the wire's name
    message: str = ""


def is_configured(settings: Settings) -> bool:
    """Whether there is a Storage to put media into."""
    return bool(
        settings.supabase_url.strip() and settings.supabase_service_role_key.get_secret_value().strip()
    )


def object_url(settings: Settings, bucket: str, object_key: str) -> str:
    """Where an object of a private bucket is read, by whoever may."""
    return f"{_root(settings)}/object/authenticated/{bucket}/{quote(object_key)}"


def upload(settings: Settings, bucket: str, object_key: str, content: bytes, mime: str) -> None:
    """Put an object into a bucket; doing it again replaces it.

    Raises GiveUp `media.too_large` when the bucket takes no such size, and RetryLater `storage.…` for all
    else, because a medium that was paid for should outlive a Storage that is away or set up wrongly.
    """
    key = settings.supabase_service_role_key.get_secret_value().strip()
    remember_secret(key)
    headers = {"Authorization": f"Bearer {key}", "apikey": key, "Content-Type": mime, "x-upsert": "true"}
    url = f"{_root(settings)}/object/{bucket}/{quote(object_key)}"
    seconds = settings.media_transfer_timeout_ms / 1000
    try:
        with total_deadline(seconds):
            response = http_client().post(url, content=content, headers=headers, timeout=seconds)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise RetryLater(
            "storage.unavailable", f"Storage can't be reached ({type(error).__name__})"
        ) from None
    if not response.is_success:
        raise _refusal(response, key)


def _refusal(response: httpx2.Response, key: str) -> GiveUp | RetryLater:
    try:
        refusal = _Refusal.model_validate_json(response.content)
    except ValidationError:
        refusal = _Refusal()
    status = refusal.statusCode or response.status_code
    said = redact(refusal.message[:200], key) or f"status {status}"
    if status == 413:
        return GiveUp("media.too_large", f"Storage does not take the medium: {said}")
    code = "storage.unavailable" if status >= 500 or status == 429 else "storage.refused"
    return RetryLater(code, f"Storage did not take the medium: {said}")


def _root(settings: Settings) -> str:
    return f"{settings.supabase_url.strip().rstrip('/')}/storage/v1"
