"""Messages on public channels of Supabase Realtime, sent over HTTP with the service role's key."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import httpx2
import structlog
from pydantic import BaseModel

from app.http.deadline import total_deadline
from app.platform.run_events import Message
from app.providers.transport import http_client
from app.redaction import remember_secret
from app.settings import Settings

log = structlog.get_logger(__name__)

#: Tries of one request, pauses between them, and the longest that one may take.
TRIES = 3
PAUSE_SECONDS = 0.5
TIMEOUT_SECONDS = 10.0
#: Most bytes of messages in one request; a single larger one goes alone.
BATCH_BYTES = 512_000


class _Broadcast(BaseModel):
    topic: str
    event: str
    payload: dict[str, object]
    private: bool = False


def broadcast(settings: Settings, topic: str, messages: Sequence[Message]) -> int:
    """Send messages to a channel, in order, and return how many Realtime didn't take; never raises for those.

    Requests that fail for a reason that may pass (429, 5xx, no connection) are tried again, shortly.
    """
    return sum(0 if _send(settings, body) else count for count, body in _batches(topic, messages))


def _batches(topic: str, messages: Sequence[Message]) -> Iterator[tuple[int, bytes]]:
    """The bodies of the requests, each with its number of messages."""
    batch: list[bytes] = []
    for message in messages:
        told = _Broadcast(topic=topic, event=message.event, payload=dict(message.payload))
        encoded = told.model_dump_json().encode()
        if batch and sum(map(len, batch)) + len(encoded) > BATCH_BYTES:
            yield len(batch), _body(batch)
            batch = []
        batch.append(encoded)
    if batch:
        yield len(batch), _body(batch)


def _body(batch: list[bytes]) -> bytes:
    return b'{"messages":[%s]}' % b",".join(batch)


def _send(settings: Settings, body: bytes) -> bool:
    reason = ""
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE_SECONDS * number)
        try:
            status = _post(settings, body)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = type(error).__name__
            continue
        if 200 <= status < 300:
            return True
        reason = f"status {status}"
        if status != 429 and status < 500:
            break
    log.warning("followers of a run were not told", reason=reason)
    return False


def _post(settings: Settings, body: bytes) -> int:
    key = settings.supabase_service_role_key.get_secret_value().strip()
    remember_secret(key)
    # A new-style key is no token; Realtime takes it in this header only.
    bearer = {} if key.startswith("sb_secret_") else {"Authorization": f"Bearer {key}"}
    with total_deadline(TIMEOUT_SECONDS):
        response = http_client().post(
            f"{settings.supabase_url.strip().rstrip('/')}/realtime/v1/api/broadcast",
            content=body,
            headers={"apikey": key, "Content-Type": "application/json", **bearer},
            timeout=TIMEOUT_SECONDS,
        )
    return response.status_code
