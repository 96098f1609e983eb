"""Ruby's `strftime`, which the operating system's differs from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

#: Widest field that a directive may ask for, in characters.
WIDEST_FIELD_CHARACTERS = 1024

_DIRECTIVE = re.compile(r"%([-0^#_]*)(\d*)(?:[EO](?=[a-zA-Z]))?(::?z|[a-zA-Z%+])", re.ASCII)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

#: Directives that stand for others.
_COMPOSITES = {
    "D": "%m/%d/%y",
    "F": "%Y-%m-%d",
    "R": "%H:%M",
    "T": "%H:%M:%S",
    "X": "%H:%M:%S",
    "c": "%a %b %e %H:%M:%S %Y",
    "r": "%I:%M:%S %p",
    "v": "%e-%^b-%Y",
    "x": "%m/%d/%y",
}

#: Directives that are numbers: how they are padded, to how many characters, and the number.
_NUMBERS: dict[str, tuple[str, int, Callable[[datetime], int]]] = {
    "C": ("0", 2, lambda t: t.year // 100),
    "G": ("0", 4, lambda t: t.isocalendar().year),
    "H": ("0", 2, lambda t: t.hour),
    "I": ("0", 2, lambda t: t.hour % 12 or 12),
    "M": ("0", 2, lambda t: t.minute),
    "S": ("0", 2, lambda t: t.second),
    "U": ("0", 2, lambda t: (t.timetuple().tm_yday + 6 - t.isoweekday() % 7) // 7),
    "V": ("0", 2, lambda t: t.isocalendar().week),
    "W": ("0", 2, lambda t: (t.timetuple().tm_yday + 6 - t.weekday()) // 7),
    "Y": ("0", 4, lambda t: t.year),
    "d": ("0", 2, lambda t: t.day),
    "e": (" ", 2, lambda t: t.day),
    "g": ("0", 2, lambda t: t.isocalendar().year % 100),
    "j": ("0", 3, lambda t: t.timetuple().tm_yday),
    "k": (" ", 2, lambda t: t.hour),
    "l": (" ", 2, lambda t: t.hour % 12 or 12),
    "m": ("0", 2, lambda t: t.month),
    "s": ("0", 1, lambda t: int(t.timestamp() // 1)),
    "u": ("0", 1, lambda t: t.isoweekday()),
    "w": ("0", 1, lambda t: t.isoweekday() % 7),
    "y": ("0", 2, lambda t: t.year % 100),
}

_TEXTS: dict[str, Callable[[datetime], str]] = {
    "A": lambda t: _DAYS[t.weekday()],
    "B": lambda t: _MONTHS[t.month - 1],
    "P": lambda t: "pm" if t.hour >= 12 else "am",
    "Z": lambda t: "" if t.utcoffset() else "UTC",
    "a": lambda t: _DAYS[t.weekday()][:3],
    "b": lambda t: _MONTHS[t.month - 1][:3],
    "h": lambda t: _MONTHS[t.month - 1][:3],
    "p": lambda t: "PM" if t.hour >= 12 else "AM",
}

_CHARACTERS = {"%": "%", "n": "\n", "t": "\t"}


def written(moment: datetime, form: str) -> Iterator[str]:
    """Yield a moment, which has a time zone, bit by bit in a form; unknown directives stay as they are."""
    position = 0
    for found in _DIRECTIVE.finditer(form):
        yield form[position : found.start()]
        field = _field(moment, found[1], found[2], found[3])
        yield found[0] if field is None else field
        position = found.end()
    yield form[position:]


def _field(moment: datetime, flags: str, width: str, directive: str) -> str | None:
    """One directive, written; nothing if there is none of that name."""
    widest = min(int(width[:4] or 0), WIDEST_FIELD_CHARACTERS)
    if directive in ("L", "N"):
        digits = widest or (3 if directive == "L" else 9)
        return f"{moment.microsecond:06}".ljust(digits, "0")[:digits]
    unpadded = _unpadded(moment, directive)
    if unpadded is None:
        return None
    padding, shortest, text = unpadded
    if "#" in flags and directive == "p":
        text = text.lower()
    elif "^" in flags or "#" in flags:
        text = text.upper()
    if "-" in flags:
        return text
    padding = "0" if "0" in flags else " " if "_" in flags else padding
    if directive.endswith("z") and padding == "0":
        return text[0] + text[1:].rjust(widest - 1, padding)
    return text.rjust(widest or shortest, padding)


def _unpadded(moment: datetime, directive: str) -> tuple[str, int, str] | None:
    """What a directive is padded with, to how many characters, and its text."""
    if directive in _NUMBERS:
        padding, shortest, number = _NUMBERS[directive]
        return padding, shortest, str(number(moment))
    if directive in _TEXTS:
        return " ", 0, _TEXTS[directive](moment)
    if directive in _CHARACTERS:
        return " ", 0, _CHARACTERS[directive]
    if directive in _COMPOSITES:
        return " ", 0, "".join(written(moment, _COMPOSITES[directive]))
    return ("0", 0, _offset(moment, directive.count(":"))) if directive.endswith("z") else None


def _offset(moment: datetime, colons: int) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    sign, minutes = "-" if seconds < 0 else "+", abs(seconds) // 60
    text = f"{sign}{minutes // 60:02}{':' if colons else ''}{minutes % 60:02}"
    return f"{text}:{abs(seconds) % 60:02}" if colons == 2 else text
