"""How the platform's own matcher reads a cron expression, compared with how cron does.

The platform's knows no names, no `@daily` and no time zones, takes `*/n` as divisible by n, and asks that day
of month and day of week both match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import psycopg2
import structlog

from app.database import Database
from app.errors import DatabaseAway
from app.outages import trouble_of_one
from app.timetable import Timetable

log = structlog.get_logger(__name__)

#: How far ahead readings are compared, in time and in slots.
HORIZON = timedelta(days=366)
MAX_SLOTS = 1_000

#: Expressions that are compared in one go.
MAX_COMPARED = 100

#: Asks for the rows that `PlatformReading.of` takes, of one expression.
CRON_FIELDS = "SELECT field, value FROM worker.fn_platform_cron_fields(%s)"

_FIELDS = ("minute", "hour", "day", "month", "weekday")


@dataclass(frozen=True)
class PlatformReading:
    """The values of each field that the platform's matcher accepts, in UTC, all five at once. Sunday is 0."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> PlatformReading:
        """The reading from rows of `field` and `value`."""
        found = [(row["field"], row["value"]) for row in rows]
        return cls(*(frozenset(value for name, value in found if name == field) for field in _FIELDS))

    def holds_at(self, slot: datetime) -> bool:
        """Whether the platform would make a run in this minute."""
        return slot.minute in self.minutes and slot.hour in self.hours and self._holds_on(slot)

    def slots_between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The minutes after `start` and up to `end` in which the platform would make a run."""
        day = start.replace(hour=0, minute=0, second=0, microsecond=0)
        while day <= end:
            if self._holds_on(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        slot = day.replace(hour=hour, minute=minute)
                        if start < slot <= end:
                            yield slot
            day += timedelta(days=1)

    def _holds_on(self, day: datetime) -> bool:
        return day.day in self.days and day.month in self.months and day.isoweekday() % 7 in self.weekdays


@dataclass(frozen=True)
class Difference:
    """A slot that the platform would leave out, and one that it would add; None where there is none."""

    missing: datetime | None
    surplus: datetime | None

    def __bool__(self) -> bool:
        return self.missing is not None or self.surplus is not None

    def __str__(self) -> str:
        parts = []
        if self.missing:
            parts.append(f"it leaves out {self.missing:%Y-%m-%d %H:%M}")
        if self.surplus:
            parts.append(f"it adds {self.surplus:%Y-%m-%d %H:%M}")
        return f"the platform's own dispatcher reads the expression differently: {', '.join(parts)}"


def compare(timetable: Timetable, theirs: PlatformReading, now: datetime) -> Difference:
    """Where both readings first differ within the next year, or within the next `MAX_SLOTS` slots."""
    now = now.astimezone(UTC)
    end = now + HORIZON
    slots = list(islice(takewhile(lambda slot: slot <= end, timetable.slots_after(now)), MAX_SLOTS))
    if len(slots) == MAX_SLOTS:
        end = slots[-1]
    ours = frozenset(slots)
    return Difference(
        next((slot for slot in slots if not theirs.holds_at(slot)), None),
        next((slot for slot in theirs.slots_between(now, end) if slot not in ours), None),
    )


def compare_new_expressions(database: Database) -> None:
    """Find out of expressions that nobody has looked at how the platform's own dispatcher reads them."""
    for row in database.call("SELECT *, now() FROM worker.uncompared_schedules(%s)", (MAX_COMPARED,)):
        try:
            _compare_new(database, row)
        except (psycopg2.Error, DatabaseAway) as error:
            reason = trouble_of_one(error)
            log.error("an expression can't be compared", expression=row["cron_expr"], reason=reason)


def _compare_new(database: Database, row: dict[str, Any]) -> None:
    reading = PlatformReading.of(database.call(CRON_FIELDS, (row["cron_expr"],)))
    difference, has_surplus = differences(row["cron_expr"], row["timezone"], reading, row["now"])
    database.call(
        "SELECT worker.keep_comparison(%s, %s, %s, %s)",
        (row["cron_expr"], row["timezone"], difference, has_surplus),
    )


def differences(
    expression: str, timezone: str, theirs: PlatformReading, now: datetime
) -> tuple[str | None, bool]:
    """How the platform reads an expression differently, and whether it would make runs that are not due.

    The first looks at the expression alone, the second at the time zone too, which the platform ignores. An
    expression that can't be read differs in nothing.
    """
    try:
        local = Timetable.parse(expression, timezone)
    except ValueError:
        return None, False
    difference = compare(Timetable.parse(expression), theirs, now)
    return str(difference) if difference else None, compare(local, theirs, now).surplus is not None
