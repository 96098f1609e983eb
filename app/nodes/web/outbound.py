"""Requests of nodes, through the guarded client, with failures in the words of a node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from app.http import OutboundError, OutboundRefusedError, Response, Target, guarded_client, read_target
from app.http.retry_after import parse_retry_after
from app.nodes.effects import Unsent
from app.nodes.task import Task
from app.nodes.web.answers import MOST_BODY_BYTES
from app.redaction import redact
from app.workflow import Cause, NodeFailure, NodeStatus

#: Longest time for one request of a node, whatever its time limit.
LONGEST_SECONDS = 120.0

#: Redirects that a document may take on its host.
REDIRECTS = 3

#: Most of an answer that a failure quotes.
_QUOTED_CHARS = 200


def request(
    task: Task[Any],
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    max_response_bytes: int = 64 * 1024,
    same_host_redirects: int = 0,
) -> Response:
    """Send one request within the node's time, and give its response whatever its status.

    Raises `Unsent` when the other side certainly has nothing of it, else `NodeFailure`; neither says the URL.
    """
    try:
        return guarded_client().request(
            method,
            url,
            headers=headers,
            body=body,
            deadline_seconds=min(task.timeout_seconds, LONGEST_SECONDS),
            max_response_bytes=max_response_bytes,
            same_host_redirects=same_host_redirects,
        )
    except OutboundRefusedError as error:
        raise Unsent(str(error)) from None
    except OutboundError as error:
        is_late = error.code == "http.timeout"
        failure = Unsent if error.is_unsent else NodeFailure
        raise failure(
            str(error),
            status=NodeStatus.TIMED_OUT if is_late else NodeStatus.FAILED,
            cause=Cause.TIMEOUT if is_late else Cause.PROVIDER_ERROR,
        ) from None


def complaint_about(url: str, headers: Mapping[str, str] | None = None) -> str | None:
    """Why a request would be refused wherever its host leads, or None."""
    try:
        guarded_client().refuse_early(url, headers)
    except OutboundRefusedError as error:
        return error.message
    return None


def fetch_document(task: Task[Any], url: str, what: str) -> Response:
    """Get a whole document of at most `MOST_BODY_BYTES`; `what` begins the codes of failures."""
    response = request(task, "GET", url, max_response_bytes=MOST_BODY_BYTES, same_host_redirects=REDIRECTS)
    raise_for_status(what, response)
    if response.is_truncated:
        raise NodeFailure(f"{what}.too_large: it is larger than {MOST_BODY_BYTES} bytes")
    return response


def target_of(url: str) -> Target:
    """Where a URL leads; raises `Unsent` for one that can't be read."""
    try:
        return read_target(url)
    except OutboundRefusedError as error:
        raise Unsent(str(error)) from None


def post_json(
    task: Task[Any],
    url: str,
    content: JsonValue,
    headers: Mapping[str, str] | None = None,
    *,
    max_response_bytes: int = 64 * 1024,
) -> Response:
    """Post JSON within the node's time."""
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    typed = with_default(headers or {}, "Content-Type", "application/json; charset=utf-8")
    return request(task, "POST", url, headers=typed, body=body, max_response_bytes=max_response_bytes)


def with_default(headers: Mapping[str, str], name: str, value: str) -> dict[str, str]:
    """The headers and, unless they have it in any spelling, one more."""
    is_there = any(each.lower() == name.lower() for each in headers)
    return dict(headers) if is_there else {**headers, name: value}


def raise_for_status(
    service: str,
    response: Response,
    *secrets: str,
    reason: str | None = None,
    asked_seconds: float | None = None,
) -> None:
    """Raise for a response that is no success: `Unsent` where the service has certainly not done it.

    A redirect, a 4xx and a 503 are refusals; after any other 5xx nobody knows. `reason` and `asked_seconds`
    are what the service says of it in words of its own, else its body and its Retry-After count.
    """
    if 200 <= response.status < 300:
        return
    said = reason or response.body[: _QUOTED_CHARS * 4].decode("utf-8", "replace")
    error = f"{service}.status_{response.status}: {quoted(said, *secrets) or 'no reason given'}"
    wait_seconds = asked_seconds or parse_retry_after(response.headers.get("retry-after"))
    if response.status == 429:
        raise Unsent(error, cause=Cause.RATE_LIMIT, after_seconds=wait_seconds)
    if response.status == 503:
        raise Unsent(error, cause=Cause.PROVIDER_ERROR, after_seconds=wait_seconds)
    if response.status >= 500:
        raise NodeFailure(error, cause=Cause.PROVIDER_ERROR, after_seconds=wait_seconds)
    raise Unsent(error)


def quoted(said: str, *secrets: str) -> str:
    """What somebody else said, fit for an error: short, on one line, without secrets."""
    line = " ".join(redact(said, *secrets).split())
    printable = "".join(character for character in line if character.isprintable())
    return printable[:_QUOTED_CHARS]
