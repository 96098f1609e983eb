"""What a benchmark prints: figures beside their goals, as one JSON object or as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

Figures = dict[str, Any]


def at_most(value: float | None, bound: float, digits: int = 2) -> Figures:
    """A figure that should not exceed its bound; None, nothing measured, never meets a goal."""
    return _judged(value, f"<= {bound:g}", value is not None and value <= bound, digits)


def at_least(value: float | None, bound: float, digits: int = 2) -> Figures:
    """A figure that should reach its bound; None, nothing measured, never meets a goal."""
    return _judged(value, f">= {bound:g}", value is not None and value >= bound, digits)


def rounded(value: float | None, digits: int = 2) -> float | None:
    """A figure without a goal, as it is printed."""
    return None if value is None else round(value, digits)


def is_judged(figure: object) -> bool:
    """Whether a figure comes with a goal."""
    return isinstance(figure, Mapping) and set(figure) == {"value", "goal", "met"}


def goals_met(figures: object) -> Iterator[bool]:
    """Every goal in a report, and whether it was met."""
    if isinstance(figures, Mapping):
        if is_judged(figures):
            yield bool(figures["met"])
            return
        figures = list(figures.values())
    if isinstance(figures, list):
        for figure in figures:
            yield from goals_met(figure)


def show(report: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a report, a table per section, and how many of its goals were met."""
    if as_json:
        print(json.dumps(report))
        return
    console = Console(highlight=False)
    for section, figures in report.items():
        console.print(_table(section, figures))
    verdicts = list(goals_met(report))
    console.print(f"{sum(verdicts)} of {len(verdicts)} goals met")


def cell(figure: object) -> str:
    """One figure as text: with its goal and a mark where it has one."""
    if is_judged(figure):
        assert isinstance(figure, Mapping)
        return f"{_text(figure['value'])} {'✓' if figure['met'] else '✗'} ({figure['goal']})"
    if isinstance(figure, Mapping):
        return ", ".join(f"{name} {cell(part)}" for name, part in figure.items())
    return _text(figure)


def _judged(value: float | None, goal: str, met: bool, digits: int) -> Figures:
    return {"value": rounded(value, digits), "goal": goal, "met": met}


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _table(section: str, figures: object) -> Table:
    table = Table(title=section, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    if isinstance(figures, list):
        columns = list(dict.fromkeys(name for row in figures for name in row))
        for name in columns:
            table.add_column(name.replace("_", " "))
        for row in figures:
            table.add_row(*(cell(row.get(name, "")) for name in columns))
        return table
    table.show_header = False
    for name, figure in figures.items() if isinstance(figures, Mapping) else [("", figures)]:
        table.add_row(str(name), cell(figure))
    return table
