"""Show how the demo goes: a heading for each scenario, what happens, and what came out."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.columns import Columns
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from app.cli.demo.scenario import Summary, Tally, percentile

#: Columns that are filled, however wide the terminal is: long lines are hard to follow.
MAX_WIDTH = 110
#: Columns left blank before everything below a heading.
INDENT = 2
#: Columns of a case's name.
LABEL_WIDTH = 31
BAR_WIDTH = 40


class Display(Protocol):
    """Where the demo reports to while it runs."""

    def heading(self, title: str, story: str) -> None:
        """Begin a scenario, or another part."""

    def say(self, line: str) -> None:
        """Report something that has just happened; columns are parted by two blanks."""

    def quote(self, text: str) -> None:
        """Report what a command has printed, as it is."""

    def results(self, tallies: Sequence[Tally], seconds: float) -> None:
        """Report what came out of the scenario."""

    def update(self, summary: Summary) -> None:
        """Report how far all of it is."""


class Quiet:
    """Reports nothing: the summary is all that a program wants."""

    def heading(self, title: str, story: str) -> None:
        """Drop it."""

    def say(self, line: str) -> None:
        """Drop it."""

    def quote(self, text: str) -> None:
        """Drop it."""

    def results(self, tallies: Sequence[Tally], seconds: float) -> None:
        """Drop it."""

    def update(self, summary: Summary) -> None:
        """Drop it."""


class Printed:
    """Prints each scenario; in a terminal a bar below shows how far all of it is."""

    def __init__(self, console: Console, live: Live | None = None) -> None:
        self._console = console
        self._live = live

    def heading(self, title: str, story: str) -> None:
        """Print it, after a blank line."""
        self._console.print(Text(f"\n{title}", "bold"))
        self._print(story, "dim")

    def say(self, line: str) -> None:
        """Print the line."""
        self._print(line, "cyan")

    def quote(self, text: str) -> None:
        """Print it, without what its lines are filled up with."""
        lines = (line.rstrip() for line in text.rstrip().splitlines())
        self._console.print(Text("\n".join(lines), "cyan"), soft_wrap=True)

    def results(self, tallies: Sequence[Tally], seconds: float) -> None:
        """Print a row for each case, with what came out or what is wrong, and the sum of them."""
        for row in tallies:
            mark, style = ("✗", "red") if row.surprises else ("✓", "")
            for outcome in row.surprises or [row.outcome]:
                self._print(f"{mark}  {row.label:<{LABEL_WIDTH}}  {row.total:2}  {outcome}", style)
        self._print(_total(tallies, seconds), "dim")

    def update(self, summary: Summary) -> None:
        """Redraw the bar, where there is one."""
        if self._live is not None:
            rows = [row for rows in summary.tallies.values() for row in rows]
            ended, total = sum(row.ended for row in rows), sum(row.total for row in rows)
            bar = ProgressBar(total=max(total, 1), completed=ended, width=BAR_WIDTH)
            self._live.update(Columns([bar, f"{ended} of {total}"]))

    def _print(self, line: str, style: str) -> None:
        """Print it, indented; what doesn't fit stands below the beginning of its last column."""
        columns = list(re.finditer(r"\S {2,}(?=\S)", line))
        hang = columns[-1].end() if columns else 0
        wrapped = textwrap.wrap(
            line,
            min(self._console.width, MAX_WIDTH),
            initial_indent=" " * INDENT,
            subsequent_indent=" " * (INDENT + hang),
        )
        self._console.print(Text("\n".join(wrapped), style))


@contextmanager
def open_display(console: Console, *, quiet: bool) -> Iterator[Display]:
    """The display that fits where the output goes."""
    if quiet:
        yield Quiet()
    elif console.is_terminal:
        with Live(console=console, transient=True, refresh_per_second=10) as live:
            yield Printed(console, live)
    else:
        yield Printed(console)


def print_verdict(console: Console, summary: Summary, seconds: float) -> None:
    """Print whether all was well, or what was not."""
    console.print()
    for line in summary.faults:
        console.print(Text(f"✗ {line}", "red"), soft_wrap=True)
    if summary.ok:
        total = sum(tally.total for rows in summary.tallies.values() for tally in rows)
        console.print(
            f"✓ All {total} jobs came to the end they should have, in {seconds:.0f} s.", style="green"
        )


def _total(tallies: Sequence[Tally], seconds: float) -> str:
    jobs = sum(tally.total for tally in tallies)
    said = f"{jobs} {'job' if jobs == 1 else 'jobs'} in {seconds:.1f} s"
    pickups = [ms for tally in tallies for ms in tally.pickups_ms]
    middle, longest = percentile(pickups, 50), percentile(pickups, 100)
    if middle is None or longest is None:
        return said
    if len(pickups) == 1:
        return f"{said}; a worker began after {middle:.0f} ms"
    return f"{said}; a worker began after {middle:.0f} ms (median), {longest:.0f} ms (longest)"
