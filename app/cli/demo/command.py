"""`lf-worker demo`: every kind of work, from queued to done, in one command that ends by itself."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console

from app.cli.demo.battle_sweeps import Finalizing, Promotion
from app.cli.demo.battles import Battles
from app.cli.demo.display import open_display, print_summary
from app.cli.demo.lens_runs import LensRuns
from app.cli.demo.runner import LOG_FOLDER, run_demo
from app.cli.demo.scenario import Scenario
from app.cli.demo.votes import VoteInspections
from app.cli.demo.webhooks import Webhooks
from app.cli.signals import stops_in_order

#: The whole demo is broken off after this long.
TIMEOUT_SECONDS = 120


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print nothing but the summary, as one JSON object.")
    ] = False,
) -> None:
    """Run every kind of work on an embedded stack to its end; exit code 0 if all ended as expected."""
    console = Console(highlight=False)
    scenarios: list[Scenario] = [
        LensRuns(),
        Battles(),
        Promotion(),
        Finalizing(),
        Webhooks(),
        VoteInspections(),
    ]
    with stops_in_order(), open_display(console, quiet=as_json) as display:
        summary = run_demo(scenarios, display, timeout_seconds=TIMEOUT_SECONDS)
    if as_json:
        print(json.dumps(summary.as_json()))
    else:
        print_summary(console, summary)
    if not summary.ok:
        for line in [*summary.surprises, summary.trouble or ""] if as_json else []:
            print(line, file=sys.stderr)
        print(f"The logs are in {LOG_FOLDER}.", file=sys.stderr)
        sys.exit(1)
