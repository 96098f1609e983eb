"""The time that a report is about, in steps of equal length."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel

#: Lengths that people count in, in seconds.
STEPS_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)

#: A chart has about this many steps at most.
MOST_STEPS = 48


class Period(BaseModel):
    """From `begin` in `steps` steps; the last one ends at or after the moment of the report."""

    begin: datetime
    end: datetime
    step_seconds: int
    steps: int

    @classmethod
    def before(cls, now: datetime, hours: float) -> Period:
        """The hours before now, begun at an even step of the clock."""
        whole_seconds = hours * 3600
        step = next((s for s in STEPS_SECONDS if whole_seconds / s <= MOST_STEPS), STEPS_SECONDS[-1])
        begin = (now - timedelta(hours=hours)).timestamp() // step * step
        steps = int((now.timestamp() - begin) // step) + 1
        start = datetime.fromtimestamp(begin, tz=now.tzinfo)
        return cls(begin=start, end=now, step_seconds=step, steps=steps)

    def begin_of(self, step: int) -> datetime:
        """When a step begins; the one after the last is the end of the charts."""
        return self.begin + timedelta(seconds=step * self.step_seconds)
