"""Supabase Storage: where media and files are put, over its HTTP API, with the service role's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

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


class _Signed(BaseModel):
    """A signed URL, relative to Storage's root."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    signedURL: str  # noqa: N815  # the wire's name


@dataclass(frozen=True)
class StoredFile:
    """An object as it was found."""

    content: bytes = field(repr=False)
    mime: str


def is_configured(settings: Settings) -> bool:
    """Whether there is a Storage to put anything into."""
    return bool(
        settings.supabase_url.strip() and settings.supabase_service_role_key.get_secret_value().strip()
    )


def object_url(settings: Settings, bucket: str, object_key: str) -> str:
    """Where an object of a private bucket is read, by whoever may."""
    return f"{_root(settings)}/object/authenticated/{_place(bucket, object_key)}"


def place_of(settings: Settings, url: str) -> tuple[str, str] | None:
    """Bucket and key of an object of this Storage by the URL at which it is read; None for any other URL."""
    root = f"{_root(settings)}/object/authenticated/"
    if not is_configured(settings) or not url.startswith(root):
        return None
    bucket, _, object_key = unquote(url.removeprefix(root)).partition("/")
    return bucket, object_key


def upload(settings: Settings, bucket: str, object_key: str, content: bytes, mime: str) -> None:
    """Put an object into a bucket; doing it again replaces it.

    Raises GiveUp `storage.too_large` when the bucket takes no such size, and RetryLater `storage.…` for all
    else, because what was paid for should outlive a Storage that is away or set up wrongly.
    """
    headers = {"Content-Type": mime, "x-upsert": "true"}
    _ask(settings, "POST", f"object/{_place(bucket, object_key)}", headers, content=content)


def sign(settings: Settings, bucket: str, object_key: str, *, lasts_seconds: int) -> str:
    """A URL by which anybody reads an object of a private bucket for a time.

    Raises RetryLater `storage.…`.
    """
    body = {"expiresIn": lasts_seconds}
    response = _ask(settings, "POST", f"object/sign/{_place(bucket, object_key)}", json=body)
    try:
        signed = _Signed.model_validate_json(response.content)
    except ValidationError:
        raise RetryLater("storage.refused", "Storage gave no signed URL") from None
    return f"{_root(settings)}/{signed.signedURL.lstrip('/')}"


def download(settings: Settings, bucket: str, object_key: str, *, max_bytes: int) -> StoredFile:
    """Get an object, reading no more of it than the limit.

    Raises GiveUp `storage.not_found` and `storage.too_large`, and RetryLater `storage.…`.
    """
    key = _service_key(settings)
    url = f"{_root(settings)}/object/authenticated/{_place(bucket, object_key)}"
    seconds = settings.media_transfer_timeout_ms / 1000
    content = bytearray()
    try:
        with (
            total_deadline(seconds),
            http_client().stream("GET", url, headers=_own(key), timeout=seconds) as response,
        ):
            for piece in response.iter_bytes():
                content += piece
                if len(content) > max_bytes:
                    raise GiveUp("storage.too_large", f"the object is larger than {max_bytes} bytes")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(error) from None
    if not response.is_success:
        raise _refusal(response.status_code, bytes(content), key)
    mime = response.headers.get("content-type", "").partition(";")[0].strip()
    return StoredFile(bytes(content), mime or "application/octet-stream")


def _ask(
    settings: Settings, method: str, path: str, headers: Mapping[str, str] | None = None, **body: Any
) -> httpx2.Response:
    key = _service_key(settings)
    seconds = settings.media_transfer_timeout_ms / 1000
    url = f"{_root(settings)}/{path}"
    try:
        with total_deadline(seconds):
            response = http_client().request(
                method, url, headers={**_own(key), **(headers or {})}, timeout=seconds, **body
            )
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _unreachable(error) from None
    if not response.is_success:
        raise _refusal(response.status_code, response.content, key)
    return response


def _refusal(status_code: int, body: bytes, key: str) -> GiveUp | RetryLater:
    try:
        refusal = _Refusal.model_validate_json(body)
    except ValidationError:
        refusal = _Refusal()
    status = refusal.statusCode or status_code
    said = redact(refusal.message[:200], key) or f"status {status}"
    if status == 413:
        return GiveUp("storage.too_large", f"Storage does not take the object: {said}")
    if status == 404 and "bucket" not in said.lower():
        return GiveUp("storage.not_found", f"Storage has no such object: {said}")
    code = "storage.unavailable" if status >= 500 or status == 429 else "storage.refused"
    return RetryLater(code, f"Storage refused: {said}")


def _unreachable(error: Exception) -> RetryLater:
    return RetryLater("storage.unavailable", f"Storage can't be reached ({type(error).__name__})")


def _service_key(settings: Settings) -> str:
    key = settings.supabase_service_role_key.get_secret_value().strip()
    remember_secret(key)
    return key


def _own(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "apikey": key}


def _place(bucket: str, object_key: str) -> str:
    return f"{quote(bucket, safe='')}/{quote(object_key)}"


def _root(settings: Settings) -> str:
    return f"{settings.supabase_url.strip().rstrip('/')}/storage/v1"
