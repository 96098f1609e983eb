"""Reads an error response of any provider into one shape: status, codes, message, wait.

The shapes: `{"error": {"message", "type", "code", "status", "details"}}` (OpenAI, Anthropic, Google,
DeepSeek), the same inside a list (Google), `{"error": "text"}` (Ollama), `{"message", "type", "code"}` and
`{"detail": …}` (Mistral), or anything at all when a proxy answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.http.retry_after import parse_retry_after


@dataclass(frozen=True)
class Problem:
    """One error response. `codes` are the provider's own words, lower case; `message` is its text or ""."""

    status: int
    codes: tuple[str, ...] = ()
    message: str = ""
    retry_after_seconds: float | None = None


def read_problem(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """Parse an error response; a body that is not JSON leaves codes and message empty."""
    error = _error_part(body)
    details = [detail for detail in _as_list(error.get("details")) if isinstance(detail, dict)]
    words = [error.get("type"), error.get("code"), error.get("status")]
    words += [detail.get("reason") for detail in details]
    return Problem(
        status=status,
        codes=tuple(word.lower() for word in words if isinstance(word, str)),
        message=plain_text(error.get("message")),
        retry_after_seconds=_wait_seconds(headers, details),
    )


def _error_part(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, dict):
        return {}
    error = content.get("error", content)
    if isinstance(error, dict):
        return {"message": error.get("detail"), **error}
    return {"message": error}


def _wait_seconds(headers: Mapping[str, str], details: list[dict[str, Any]]) -> float | None:
    """The wait that the headers name, else the one in Google's RetryInfo (`"retryDelay": "34.5s"`)."""
    milliseconds = parse_retry_after(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    named = parse_retry_after(headers.get("retry-after"))
    if named is not None:
        return named
    delays = [detail["retryDelay"] for detail in details if isinstance(detail.get("retryDelay"), str)]
    return parse_retry_after(delays[0].removesuffix("s")) if delays else None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def plain_text(value: Any) -> str:
    """A message as plain text that any database and log takes: no control characters, no half characters."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join("".join(char if char.isprintable() else " " for char in plain).split())
