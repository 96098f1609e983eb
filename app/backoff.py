"""How long to wait before a job is tried again."""

from __future__ import annotations

import random

#: A time that the other side asked for is honoured up to this many times the longest backoff.
RETRY_AFTER_LIMIT = 10


def backoff_ms(errors: int, *, min_ms: int, max_ms: int, after_seconds: float | None = None) -> int:
    """Milliseconds until the next try after `errors` errors (1 for the first).

    Exponential with full jitter: uniform between nothing and `min_ms` doubled for every further error, at
    most `max_ms`. A time named by the other side (Retry-After) is a lower bound to which the jitter is
    added, so that many jobs told the same time don't come back at once.
    """
    ceiling_ms = min(max_ms, min_ms * 2 ** min(max(errors, 1) - 1, 30))
    jitter_ms = random.uniform(0, ceiling_ms)  # noqa: S311 - jitter, not a secret
    asked_ms = min(max(after_seconds or 0.0, 0.0) * 1000, max_ms * RETRY_AFTER_LIMIT)
    return round(asked_ms + jitter_ms)
