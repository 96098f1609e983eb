"""When a sweep is due: cron expressions in UTC, looked at backwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from periodiq import CronSpec, cron

#: No expression is looked back on further than this; rarer ones are not for a sweep.
LONGEST_LOOK_BACK = timedelta(days=32)


@dataclass(frozen=True)
class Timetable:
    """A cron expression: five fields, or @hourly and its like.

    Raises ValueError or KeyError for an expression that can't be read.
    """

    expression: str
    spec: CronSpec

    @classmethod
    def parse(cls, expression: str) -> Timetable:
        """Read an expression."""
        spec = cron(expression)
        if 0 in spec.dow:
            # The library compares with ISO weekdays, in which Sunday is 7 and never 0.
            spec.dow = sorted({*spec.dow, 7})
        return cls(expression, spec)

    def latest_slot(self, now: datetime) -> datetime | None:
        """The last minute at or before `now` for which the expression holds."""
        slot = now.astimezone(UTC).replace(second=0, microsecond=0)
        oldest = slot - LONGEST_LOOK_BACK
        while slot >= oldest:
            if self.spec.validate(slot):
                return slot
            slot -= timedelta(minutes=1)
        return None
