"""How long to wait before a job is tried again, or a lost connection is made anew."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

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


class ReconnectBackoff:
    """The pauses between connections that are lost.

    They begin anew only after a connection has lasted for `lasting_seconds`: a server that takes everybody
    and hangs up at once is one that fails.
    """

    def __init__(
        self,
        *,
        min_ms: int,
        max_ms: int,
        lasting_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._min_ms = min_ms
        self._max_ms = max_ms
        self._lasting_seconds = lasting_seconds
        self._clock = clock
        self._connected_at: float | None = None
        #: Losses since a connection last lasted.
        self.losses = 0

    def connected(self) -> None:
        """The connection does what it is for; said again, it changes nothing."""
        if self._connected_at is None:
            self._connected_at = self._clock()

    def lost(self) -> float:
        """Count a loss, or a try that failed; the seconds to wait before the next try."""
        since, self._connected_at = self._connected_at, None
        has_lasted = since is not None and self._clock() - since >= self._lasting_seconds
        self.losses = 1 if has_lasted else self.losses + 1
        return backoff_ms(self.losses, min_ms=self._min_ms, max_ms=self._max_ms) / 1000
