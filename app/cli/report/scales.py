"""From numbers to places in a chart."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Marks of a logarithmic axis of time, in milliseconds.
_MARKS_MS = (0.1, 1, 10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 36_000_000, 360_000_000)


@dataclass(frozen=True)
class Scale:
    """A vertical axis: `marks` are its labelled values, the last one its top."""

    bottom: float
    top: float
    height: float
    marks: tuple[float, ...]
    is_logarithmic: bool = False

    def y(self, value: float) -> float:
        """How far a value is from the top."""
        return self.height * (1 - self._share(value))

    def _share(self, value: float) -> float:
        if not self.is_logarithmic:
            return (value - self.bottom) / (self.top - self.bottom)
        clipped = min(max(value, self.bottom), self.top)
        return math.log(clipped / self.bottom) / math.log(self.top / self.bottom)


def linear(most: float, height: float) -> Scale:
    """An axis from 0 to an even number at or above `most`, with two or three marks."""
    step = _even_step(most / 2)
    top = step * max(1, math.ceil(most / step))
    marks = tuple(step * number for number in range(round(top / step) + 1))
    return Scale(0.0, top, height, marks)


def logarithmic(values_ms: list[float], height: float) -> Scale:
    """An axis of time between the marks around all values; at least two decades long."""
    low, high = min(values_ms, default=1.0), max(values_ms, default=1_000.0)
    first = max((i for i, mark in enumerate(_MARKS_MS) if mark <= low), default=0)
    last = min((i for i, mark in enumerate(_MARKS_MS) if mark >= high), default=len(_MARKS_MS) - 1)
    first = min(first, len(_MARKS_MS) - 3)
    last = max(last, first + 2)
    marks = _MARKS_MS[first : last + 1]
    return Scale(marks[0], marks[-1], height, marks, is_logarithmic=True)


def _even_step(at_least: float) -> float:
    """1, 2 or 5 with zeros, and never less than 1: what is counted is whole."""
    if at_least <= 1:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(at_least))
    return next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= at_least)
