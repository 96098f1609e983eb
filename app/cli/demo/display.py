"""Show how the demo goes: live in a terminal, as plain lines elsewhere, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from app.cli.demo.scenario import Summary, Tally, percentile


class Display(Protocol):
    """Where the demo reports to while it runs."""

    #: Columns of the terminal; None where there is none.
    width: int | None

    def say(self, text: str) -> None:
        """Report a step."""

    def update(self, summary: Summary) -> None:
        """Report how far every case is."""


class Quiet:
    """Reports nothing: the summary is all that a program wants."""

    width: int | None = None

    def say(self, text: str) -> None:
        """Drop it."""

    def update(self, summary: Summary) -> None:
        """Drop it."""


class Plain:
    """Reports a line whenever the number of ended jobs changes."""

    width: int | None = None

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = -1

    def say(self, text: str) -> None:
        """Print the step."""
        self._console.print(text)

    def update(self, summary: Summary) -> None:
        """Print the number of ended jobs if it is a new one."""
        ended, total = _progress(summary)
        if ended != self._shown:
            self._shown = ended
            self._console.print(f"{ended} of {total} ended")


class Lively:
    """Redraws a progress bar and a table of all cases in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.width: int | None = live.console.width

    def say(self, text: str) -> None:
        """Print the step above the table."""
        self._live.console.print(text)

    def update(self, summary: Summary) -> None:
        """Redraw."""
        ended, total = _progress(summary)
        bar = ProgressBar(total=max(total, 1), completed=ended, width=60)
        self._live.update(Group(summary_table(summary), bar))


@contextmanager
def open_display(console: Console, *, quiet: bool) -> Iterator[Display]:
    """The display that fits where the output goes."""
    if quiet:
        yield Quiet()
    elif console.is_terminal:
        with Live(console=console, transient=True, refresh_per_second=10) as live:
            yield Lively(live)
    else:
        yield Plain(console)


def print_summary(console: Console, summary: Summary) -> None:
    """Print the table of all cases, what other commands say of them, what surprised, and the verdict."""
    console.print(summary_table(summary))
    for name, report in summary.reports.items():
        console.print(f"\n[bold]$ lf-worker {name}[/]")
        console.print(Text.from_ansi(report), soft_wrap=True)
    for surprise in summary.surprises:
        console.print(f"✗ {surprise}", style="red", markup=False)
    if summary.trouble:
        console.print(f"✗ {summary.trouble}", style="red", markup=False)
    if summary.ok:
        console.print("✓ Every job reached its expected end.", style="green")


def summary_table(summary: Summary) -> RenderableType:
    """A row per case, in sections by kind of work; p50 and max are of the pickup times."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("kind", no_wrap=True)
    table.add_column("case")
    for heading in ("wait", "run", "done", "fail", "p50 ms", "max ms"):
        table.add_column(heading, no_wrap=True, justify="right")
    for kind, rows in summary.tallies.items():
        for number, row in enumerate(rows):
            style = "red" if row.surprises else None
            table.add_row(kind if number == 0 else "", Text(row.label), *_cells(row), style=style)
        table.add_section()
    return table


def _cells(row: Tally) -> Sequence[str]:
    counts = (str(count or "") for count in (row.queued, row.running, row.succeeded, row.failed))
    pickups = (percentile(row.pickups_ms, percent) for percent in (50, 100))
    return [*counts, *("" if ms is None else f"{ms:.0f}" for ms in pickups)]


def _progress(summary: Summary) -> tuple[int, int]:
    rows = [row for rows in summary.tallies.values() for row in rows]
    return sum(row.ended for row in rows), sum(row.total for row in rows)
