"""Charts as SVG that a page can hold: every mark carries its number, and its words as a tooltip.

All are drawn 340 units wide, which is a phone's width, and grow with the column they stand in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from xml.etree.ElementTree import Element

from app.cli.report import words
from app.cli.report.elements import element
from app.cli.report.figures import Percentiles
from app.cli.report.period import Period
from app.cli.report.scales import Scale, linear, logarithmic

WIDTH, HEIGHT = 340, 132
LEFT, RIGHT, TOP, BOTTOM = 46, 4, 8, 20
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

STRIP_HEIGHT = 20


def stacked_bars(label: str, period: Period, steps: Sequence[tuple[int, int]]) -> Element:
    """What went well, and on top of it what failed, in each step."""
    scale = linear(max((good + bad for good, bad in steps), default=0), PLOT_HEIGHT)
    bars: list[Element] = []
    for step, (good, bad) in enumerate(steps):
        if not good + bad:
            continue
        told = f"{_when(period, step)}: {words.count(good)} done, {words.count(bad)} failed"
        parts = (("good", 0, good), ("bad", good, bad))
        bars += [_bar(period, scale, step, part, told) for part in parts if part[2]]
    return _chart(label, period, scale, words.count, bars)


def percentile_lines(label: str, period: Period, steps: Sequence[Percentiles]) -> Element:
    """The middle as a line and the slow end as a finer one, with what lies between them shaded."""
    values = [value for step in steps for value in (step.p50_ms, step.p99_ms) if value is not None]
    scale = logarithmic(values, PLOT_HEIGHT)
    marks: list[Element] = []
    for is_measured, run in groupby(enumerate(steps), key=lambda item: item[1].p50_ms is not None):
        if is_measured:
            marks += _stretch(period, scale, list(run))
    return _chart(label, period, scale, words.milliseconds, marks)


def load_strip(
    label: str, period: Period, loads: Sequence[float], deaths: Sequence[int], most: float
) -> Element:
    """How many jobs a worker was at on average, and where it died; `most` is the height of the strip.

    It is stretched to the width that there is, so nothing in it has a shape of its own.
    """
    marks = [_load(period, step, load, most) for step, load in enumerate(loads) if load > 0]
    marks += [_death(period, step, count) for step, count in enumerate(deaths) if count]
    return element(
        "svg",
        element("title", label),
        *marks,
        viewBox=f"0 0 {period.steps} {STRIP_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        class_="strip",
    )


def _chart(
    label: str, period: Period, scale: Scale, name: Callable[[float], str], marks: Sequence[Element]
) -> Element:
    axis: list[Element] = []
    for value in scale.marks:
        y = TOP + scale.y(value)
        axis.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        axis.append(element("text", name(value), class_="tick", x=LEFT - 6, y=y + 3, text_anchor="end"))
    return element(
        "svg",
        element("title", label),
        *axis,
        *marks,
        *_time_axis(period),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="chart",
        data_top=scale.top,
    )


def _time_axis(period: Period) -> list[Element]:
    anchors = ("start", "middle", "end")
    return [
        element(
            "text",
            name,
            class_="tick",
            x=LEFT + PLOT_WIDTH * share,
            y=TOP + PLOT_HEIGHT + 14,
            text_anchor=anchor,
        )
        for (share, name), anchor in zip(time_marks(period), anchors, strict=True)
    ]


def time_marks(period: Period) -> list[tuple[float, str]]:
    """The beginning, the middle and the end of a time axis, as shares of it with their names."""
    steps = (0, period.steps // 2, period.steps)
    return [(step / period.steps, words.clock(period.begin_of(step), period.step_seconds)) for step in steps]


def _bar(period: Period, scale: Scale, step: int, part: tuple[str, int, int], told: str) -> Element:
    name, below, value = part
    slot = PLOT_WIDTH / period.steps
    y = scale.y(below + value)
    return element(
        "rect",
        element("title", told),
        class_=name,
        x=LEFT + slot * step + slot * 0.12,
        y=TOP + y,
        width=slot * 0.76,
        height=scale.y(below) - y,
        data_step=step,
        data_value=value,
    )


def _stretch(period: Period, scale: Scale, run: list[tuple[int, Percentiles]]) -> list[Element]:
    """Steps without a gap between them: the shade, both lines, and a dot with its words for each step."""

    def place(step: int, value: float | None) -> str:
        return f"{_middle(period, step):.1f},{TOP + scale.y(value or 0.0):.1f}"

    low = [place(step, at.p50_ms) for step, at in run]
    high = [place(step, at.p99_ms) for step, at in run]
    lines = [
        element("polygon", class_="shade", points=" ".join([*low, *reversed(high)])),
        element("polyline", class_="slow", points=" ".join(high)),
        element("polyline", class_="typical", points=" ".join(low)),
    ]
    return lines + [_dot(period, scale, step, at, is_alone=len(run) == 1) for step, at in run]


def _dot(period: Period, scale: Scale, step: int, at: Percentiles, *, is_alone: bool) -> Element:
    told = f"{_when(period, step)}: p50 {words.milliseconds(at.p50_ms)}, p99 {words.milliseconds(at.p99_ms)}"
    return element(
        "circle",
        element("title", told),
        class_="alone" if is_alone else "point",
        cx=_middle(period, step),
        cy=TOP + scale.y(at.p50_ms or 0.0),
        r=2.5,
        data_step=step,
        data_p50=f"{at.p50_ms:.6g}",
        data_p99=f"{at.p99_ms:.6g}",
    )


def _load(period: Period, step: int, load: float, most: float) -> Element:
    height = max(1.0, STRIP_HEIGHT * load / most)
    return element(
        "rect",
        element("title", f"{_when(period, step)}: {load:.2g} jobs at once on average"),
        class_="load",
        x=step + 0.06,
        y=STRIP_HEIGHT - height,
        width=0.88,
        height=height,
        data_step=step,
        data_value=f"{load:.6g}",
    )


def _death(period: Period, step: int, count: int) -> Element:
    return element(
        "line",
        element("title", f"{_when(period, step)}: {count} jobs lost their worker"),
        class_="death",
        x1=step + 0.5,
        x2=step + 0.5,
        y1=0,
        y2=STRIP_HEIGHT,
        data_step=step,
        data_value=count,
    )


def _middle(period: Period, step: int) -> float:
    return LEFT + PLOT_WIDTH * (step + 0.5) / period.steps


def _when(period: Period, step: int) -> str:
    begin, end = period.begin_of(step), period.begin_of(step + 1)
    shape = (
        "%H:%M:%S" if period.step_seconds < 60 else "%b %d %H:%M" if period.step_seconds > 1_800 else "%H:%M"
    )
    return f"{begin:{shape}}–{end:{shape}}"
