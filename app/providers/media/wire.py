"""What the media modules share on the wire: JSON in and out, safe path segments, what a failure means."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx2
from pydantic import BaseModel, BeforeValidator

from app.errors import GiveUp, JobError
from app.providers.base import BadReplyError
from app.providers.media.base import Media
from app.providers.outcomes import judge_problem
from app.providers.problem import Problem
from app.providers.transport import http_client

#: A URL longer than this is refused; signed ones take up to some two thousand characters.
MAX_URL_CHARS = 8_192

#: What providers name tasks: nothing that could lead to another path of their API.
Wire = TypeVar("Wire", bound=BaseModel)

_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:=-]{0,255}")


def post_json(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str], timeout_seconds: float
) -> httpx2.Response:
    """Post once; raises httpx2's errors, also for every status but 2xx."""
    response = http_client().post(url, json=dict(body), headers=dict(headers), timeout=timeout_seconds)
    return response.raise_for_status()


def get(url: str, headers: Mapping[str, str], timeout_seconds: float, **query: str) -> httpx2.Response:
    """Get once; raises httpx2's errors, also for every status but 2xx."""
    response = http_client().get(url, headers=dict(headers), params=query or None, timeout=timeout_seconds)
    return response.raise_for_status()


def bearer(key: str) -> dict[str, str]:
    """The commonest way to show a key."""
    return {"Authorization": f"Bearer {key}"}


def segment(name: str) -> str:
    """A name as one segment of a URL's path; raises GiveUp for one that would be no segment at all."""
    quoted = quote(name, safe="")
    if quoted in {"", ".", ".."}:
        raise GiveUp("provider.invalid_request", f"{name!r} can't be part of a URL")
    return quoted


def task_id(name: str) -> str:
    """A provider's task id as a segment of a URL's path; raises GiveUp for what can't be one."""
    if not _TASK_ID.fullmatch(name):
        raise GiveUp("provider.task_malformed", "the task id holds characters that none has")
    return name


def _url(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if len(text) > MAX_URL_CHARS or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no URL of a medium")
    return text


#: A link to a medium, as providers give it.
MediaUrl = Annotated[str, BeforeValidator(_url)]


def _size(value: Any) -> int | None:
    is_size = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 100_000
    return value if is_size else None


def _seconds(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < 86_400 else None


#: Pixels and seconds: unknown where they make no sense, because a wrong number must not cost the medium.
Pixels = Annotated[int | None, BeforeValidator(_size)]
Seconds = Annotated[float | None, BeforeValidator(_seconds)]


def decode_media(encoded: str, mime: str, width: int | None = None, height: int | None = None) -> Media:
    """A medium that came as base64; raises BadReplyError for what isn't."""
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadReplyError("the medium is no base64") from None
    if not content:
        raise BadReplyError("the medium is empty")
    return Media(mime=mime, content=content, width=width, height=height)


def parse(model: type[Wire], response: httpx2.Response) -> Wire:
    """The body as that model; raises pydantic's error."""
    return model.model_validate_json(response.content)


def task_failed(provider: str, message: str, code: str = "", *secrets: str) -> JobError:
    """What a provider's word that a task failed means: its reason where it is known, else that it failed."""
    judged = judge_problem(Problem(400, (code.lower(),) if code else (), message), provider, *secrets)
    if judged.code in {"provider.invalid_request", "provider.context_too_long"}:
        return GiveUp(
            "provider.task_failed", judged.message.replace("rejected the request", "failed the task")
        )
    return judged
