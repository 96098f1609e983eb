"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

#: Units of time, the longest first, with their length in milliseconds.
_UNITS = ((3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms"))


def count(number: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def several(number: int, thing: str) -> str:
    """So many things: `1 attempt`, `2 attempts`."""
    return f"{count(number)} {thing}" + ("" if number == 1 else "s")


def milliseconds(value: float | None) -> str:
    """A length of time in its own unit: `840 ms`, `1.2 s`, `3.4 min`."""
    if value is None:
        return "–"
    for length, unit in _UNITS:
        if value >= length:
            number = value / length
            return f"{number:.3g} {unit}" if number < 100 else f"{number:.0f} {unit}"
    return f"{value:.2g} ms"


def percent(part: float, whole: float) -> str:
    """A share; a dash of nothing."""
    return f"{part / whole:.1%}" if whole else "–"


def dollars(amount: Decimal | None) -> str:
    """An amount with as many decimals as it needs to be told from nothing."""
    if amount is None:
        return "–"
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"


def clock(moment: datetime, step_seconds: int) -> str:
    """A time of day, with seconds where steps are shorter than minutes, or a date where they are long."""
    if step_seconds >= 7_200:
        return f"{moment:%b} {moment.day}"
    return f"{moment:%H:%M:%S}" if step_seconds < 60 else f"{moment:%H:%M}"


def between(begin: datetime, end: datetime) -> str:
    """A length of time by its ends, in UTC."""
    return f"{begin:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M} UTC"


def full(moment: datetime) -> str:
    """A date and a time in UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
