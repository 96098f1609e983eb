"""When a webhook is tried again."""

from __future__ import annotations

import random
from collections.abc import Sequence

#: Each wait is off by up to this share, so that what failed together doesn't come back together.
JITTER = 0.2

#: An endpoint that asks for more time gets up to this, or twice the planned wait if that is longer.
LONGEST_ASKED_SECONDS = 3_600.0


def read_delays(text: str) -> tuple[float, ...]:
    """The waits between attempts in seconds, of a comma-separated list."""
    return tuple(float(part) for part in text.split(","))


def retry_after_seconds(
    attempts: int, delays: Sequence[float], *, asked_seconds: float | None = None
) -> float | None:
    """Seconds until the next attempt after `attempts` failed ones, or None when there is none left.

    What the endpoint asks for (Retry-After) counts where it is longer than planned, up to a limit.
    """
    if attempts > len(delays):
        return None
    planned = delays[attempts - 1]
    wait = planned * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter, not a secret
    if asked_seconds is None:
        return wait
    return max(wait, min(asked_seconds, max(2 * planned, LONGEST_ASKED_SECONDS)))
