"""Reads how long a server asks to be left alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Longer waits are read as this one, which keeps arithmetic with them safe; callers cap far below it.
MAX_SECONDS = 365 * 24 * 3600.0

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds to wait according to a Retry-After header: a number of seconds or an HTTP date (RFC 9110).

    Never negative and never above `MAX_SECONDS`; None when the header is absent or makes no sense.
    """
    text = (value or "").strip()
    if _NUMBER.fullmatch(text):
        return min(max(float(text), 0.0), MAX_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (aware - (now or datetime.now(UTC))).total_seconds()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_SECONDS)
