"""When a cron expression is due, read as Debian's cron reads it, in a time zone.

Moments at which an expression holds are called slots. They are minutes, and are given in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

#: The longest time without a slot that an expression may have: 29 February, around a year such as 2100.
LONGEST_LOOK_BACK = timedelta(days=8 * 366)

#: Slots are looked for from these times back, so that frequent ones are not counted through.
_LOOK_BACKS = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366))

#: A longer expression is no expression.
MAX_EXPRESSION_CHARS = 256
#: No more of an unknown time zone is repeated in a message.
MAX_ZONE_CHARS = 80

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ANY_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Timetable:
    """A cron expression of five fields in a time zone.

    As with Debian's cron, day of month and day of week are alternatives unless one of them begins with `*`.
    When clocks are put forward, a slot that is left out comes right after the gap; when they are put back, a
    slot that comes twice counts once. Both hold unless the minute or the hour begins with `*`: such slots
    come as the clock shows them.
    """

    expression: str
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, expression: str, timezone: str = "UTC") -> Timetable:
        """Read an expression, or @hourly and its like; raises ValueError with what can't be read."""
        text = expression.strip()
        if len(text) > MAX_EXPRESSION_CHARS:
            raise ValueError(f"{len(text)} characters are no expression, {MAX_EXPRESSION_CHARS} at most are")
        if text.startswith("@"):
            if text.lower() not in _MACROS:
                raise ValueError(f"{text} is none of {', '.join(_MACROS)}")
            return cls(_MACROS[text.lower()], _zone(timezone))
        fields = text.split()
        if len(fields) != 5:
            raise ValueError(f"an expression has five fields, and '{text}' has {len(fields)}")
        try:
            # Whether the days come in these months is not a matter of reading.
            for tried in ([*fields[:3], "*", fields[4]], ["*", "*", "*", fields[3], "*"]):
                CronSim(" ".join(tried), _ANY_MOMENT)
        except CronSimError as error:
            raise ValueError(f"{str(error).replace('Bad', 'no')} that can be read in '{text}'") from None
        return cls(" ".join(fields), _zone(timezone))

    def slots_after(self, moment: datetime) -> Iterator[datetime]:
        """All slots after a moment, in order; they end after fifty years without one."""
        try:
            found = CronSim(self.expression, moment.astimezone(self.zone))
        except CronSimError:
            return  # no month has such a day
        latest = moment
        for local in found:
            slot = local.astimezone(UTC)
            # Within an hour that comes twice, slots of the first pass lie before a moment of the second.
            if slot > latest:
                latest = slot
                yield slot

    def next_slot(self, after: datetime) -> datetime | None:
        """The first slot after a moment; None where there never is one."""
        return next(self.slots_after(after), None)

    def latest_slot(self, now: datetime) -> datetime | None:
        """The last slot at or before `now`, not older than `LONGEST_LOOK_BACK`."""
        for back in (*_LOOK_BACKS, LONGEST_LOOK_BACK):
            passed = takewhile(lambda slot: slot <= now, self.slots_after(now - back))
            if slots := list(passed):
                return slots[-1]
        return None


def _zone(timezone: str) -> tzinfo:
    wanted = timezone.strip().lower()
    if wanted == "utc":
        return UTC
    name = _zone_names().get(wanted)
    if name is None:
        raise ValueError(f"there is no time zone '{timezone[:MAX_ZONE_CHARS]}'")
    return ZoneInfo(name)


@lru_cache(maxsize=1)
def _zone_names() -> dict[str, str]:
    # What `localtime` is depends on the machine.
    return {name.lower(): name for name in available_timezones() - {"localtime"}}
