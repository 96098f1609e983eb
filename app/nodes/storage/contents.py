"""What goes into a file, and what comes out of it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from app.http import OutboundError, guarded_client
from app.nodes.task import Task
from app.platform.storage import StoredFile
from app.settings import settings
from app.workflow import NodeFailure
from app.workflow.paths import Missing
from app.workflow.values import compact_json

#: Longest text of a file that becomes a node's output; a longer one is read by its URL.
LONGEST_TEXT_BYTES = 1024 * 1024

_TEXTS = ("text/", "application/json", "application/xml", "application/yaml", "application/x-ndjson")


@dataclass(frozen=True)
class Content:
    """Bytes and, where their origin tells, their type."""

    content: bytes = field(repr=False)
    mime: str = ""


def part_of(task: Task[Any], path: str) -> JsonValue:
    """What a path leads to, blank and `$` to all of the upstream's data; raises `NodeFailure` `not_found`."""
    found = task.source.find(path)
    if isinstance(found, Missing):
        raise NodeFailure(f"not_found: there is nothing at '{path.strip()}'")
    return found


def written(value: JsonValue) -> Content:
    """A text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else compact_json(value)
    return Content(text.encode("utf-8", "replace"))


def decoded(text: str) -> Content:
    """What a base64 text stands for; raises `NodeFailure`."""
    try:
        return Content(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise NodeFailure("invalid_content: it is not base64") from None


def fetched(url: str, within_seconds: float) -> Content:
    """What lies at somebody else's URL; raises `NodeFailure`."""
    limit = settings().workflow_file_max_bytes
    try:
        response = guarded_client().request(
            "GET",
            url,
            deadline_seconds=min(within_seconds, settings().media_transfer_timeout_ms / 1000),
            max_response_bytes=limit,
            same_host_redirects=3,
        )
    except OutboundError as error:
        raise NodeFailure(f"{error.code}: the file can't be fetched: {error.message}") from None
    if response.status != 200:
        raise NodeFailure(f"http.status_{response.status}: the file can't be fetched")
    if response.is_truncated:
        raise NodeFailure(f"file_too_large: a file may have {limit} bytes")
    return Content(response.body, response.headers.get("content-type", "").partition(";")[0].strip())


def text_of(found: StoredFile) -> str | None:
    """The text of a file; None for what is none, or too long for a node's output."""
    if len(found.content) > LONGEST_TEXT_BYTES or not found.mime.startswith(_TEXTS):
        return None
    try:
        return found.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
