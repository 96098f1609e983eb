"""The filter that writes dates, by Ruby's rules and without the operating system's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from dateutil import parser

from app.templates.context import GuardedContext
from app.templates.filters.directives import written
from app.templates.filters.kinds import Filter
from app.templates.nodes import printed_text

#: Longest text that can be a date, as in Ruby; the parser is slow on longer ones.
LONGEST_DATE_CHARACTERS = 128
LAST_MONTH = 12

_TIMESTAMP = re.compile(r"\d+", re.ASCII)
#: Day, month and year; or, if all have two digits, year, month and day.
_THREE_NUMBERS = re.compile(r"\s*\d\d?([/.-])(\d\d?)\1(\d{4}|\d\d?)(?!\d)", re.ASCII)
#: A date has the name of a month, or two numbers with one of these between them.
_LOOKS_LIKE_A_DATE = re.compile(
    r"\d\d?:\d\d|\d[/-]\d|\d\.\d+\.\d|\d{8}|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.ASCII
)
_HOURS_FROM_UTC = {
    **{"utc": 0, "gmt": 0, "z": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5},
    **{"mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "bst": 1, "cet": 1, "cest": 2},
}


def date(value: object, form: object, *, context: GuardedContext) -> object:
    """Write a date in a form of `strftime`; what is no date comes out as it went in.

    A date is `now` or `today`, seconds since 1970, or a text that states one. Times are in UTC unless the
    text has a zone. `1/2/2006` is in February, as in Ruby.
    """
    directives = printed_text(form, context)
    moment = _moment(value) if directives else None
    if moment is None:
        return value
    text = context.get_buffer()
    for piece in written(moment, directives):
        text.write(piece)
    return text.getvalue()


def _moment(value: object) -> datetime | None:
    now = datetime.now(UTC)
    if isinstance(value, str):
        stated = value.lower()
        if stated in ("now", "today"):
            return now
        if not _TIMESTAMP.fullmatch(stated):
            return _parsed(stated, now) if len(stated) <= LONGEST_DATE_CHARACTERS else None
        value = int(stated) if len(stated) <= LONGEST_DATE_CHARACTERS else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None  # Python's years end with 9999


def _parsed(stated: str, now: datetime) -> datetime | None:
    if not _LOOKS_LIKE_A_DATE.search(stated):
        return None
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    numbers = _THREE_NUMBERS.match(stated)
    if numbers and int(numbers[2]) > LAST_MONTH:
        return None
    order = {} if numbers is None else {"dayfirst" if len(numbers[3]) > 2 else "yearfirst": True}
    try:
        # The parser knows zones only in upper case.
        found: datetime = parser.parse(stated.upper(), default=midnight, tzinfos=_zone, **order)
    except (OverflowError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _zone(name: str | None, offset_seconds: int | None) -> timezone:
    hours = _HOURS_FROM_UTC.get((name or "").lower(), 0)
    return timezone(timedelta(hours=hours) if offset_seconds is None else timedelta(seconds=offset_seconds))


FILTERS: dict[str, Filter] = {"date": date}
