"""Why the platform refused for good what was to be written, as a job may say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2

from app.answers import Kept
from app.errors import PlatformRefused
from app.redaction import redact

#: The longest reason that is passed on.
MAX_REASON_CHARS = 300

#: A reason that repeats this much of the answer quotes it.
QUOTE_CHARS = 24

_QUOTES = "the reason quotes the answer and is left out"


def refusal_of(error: psycopg2.Error, kept: Kept | None) -> PlatformRefused:
    """The database's own reason: its message and the function that raised it, no answer and no secret."""
    said = " ".join((error.diag.message_primary or type(error).__name__).split())
    where = (error.diag.context or "").partition("\n")[0]
    reason = redact(said)[:MAX_REASON_CHARS]
    if kept is not None and any(_quotes(said, text) for text in _texts(kept.answers)):
        reason = _QUOTES
    if where.startswith("PL/pgSQL function"):
        reason = f"{reason} ({where[:MAX_REASON_CHARS]})"
    return PlatformRefused(error.pgcode or "XX000", reason)


def _quotes(reason: str, text: str) -> bool:
    flat = " ".join(text.split())
    if len(flat) < QUOTE_CHARS:
        return len(flat) > 3 and flat in reason
    return any(reason[start : start + QUOTE_CHARS] in flat for start in range(len(reason) - QUOTE_CHARS + 1))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
