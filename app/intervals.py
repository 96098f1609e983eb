"""From an interval in milliseconds to the timetable that comes nearest."""

from __future__ import annotations

import math

_MINUTES, _HOURS = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30), (1, 2, 3, 4, 6, 8, 12)


def timetable_of(interval_ms: int) -> str:
    """A cron expression (UTC) whose slots lie evenly, at least `interval_ms` apart, and a day at most.

    Sweeps run on the minute; an interval that divides neither the hour nor the day is rounded up.
    """
    minutes = math.ceil(interval_ms / 60_000)
    for step in _MINUTES:
        if minutes <= step:
            return f"*/{step} * * * *"
    for step in _HOURS:
        if minutes <= step * 60:
            return f"0 */{step} * * *"
    return "0 0 * * *"
