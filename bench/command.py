"""What all benchmarks have on their command line: measure, and show the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from app.cli.signals import stops_in_order
from bench.report import Figures, show

SMALL = "small: does it work, not how fast is it"


def main(run: Callable[..., Figures], about: str | None) -> None:
    """Show what `run(quick=...)` gives, as `python -m bench.NAME [--json] [--quick]`."""
    options = parser(about).parse_args()
    run_and_show(lambda: run(quick=options.quick), as_json=options.json)


def parser(about: str | None, *, quick: str = SMALL) -> argparse.ArgumentParser:
    """The options that each has; `quick` says what comes of that one."""
    spec = sys.modules["__main__"].__spec__
    made = argparse.ArgumentParser(
        prog=f"python -m {spec.name}" if spec else None, description=(about or "").split("\n", 1)[0]
    )
    made.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    made.add_argument("--quick", action="store_true", help=quick)
    return made


def run_and_show(run: Callable[[], Figures], *, as_json: bool) -> Figures:
    """Show what `run` gives, and return it; what it started is ended in order when it is broken off."""
    with stops_in_order():
        report = run()
    show(report, as_json=as_json)
    return report
