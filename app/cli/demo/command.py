"""`lf-worker demo`: every kind of work, from queued to done, in one command that ends by itself."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli.demo.battle_sweeps import Finalizing, Promotion
from app.cli.demo.battles import Battles
from app.cli.demo.display import Display, open_display, print_summary
from app.cli.demo.lens_runs import LensRuns
from app.cli.demo.media import Media
from app.cli.demo.post import Post
from app.cli.demo.recovery import Recovery
from app.cli.demo.runner import LOG_FOLDER, run_demo
from app.cli.demo.scenario import Scenario, Summary
from app.cli.demo.teams import TEAM_ENVIRONMENT, Teams
from app.cli.demo.votes import VoteInspections
from app.cli.demo.webhooks import Webhooks
from app.cli.demo.workflows import WORKFLOW_ENVIRONMENT, Workflows
from app.cli.signals import stops_in_order
from app.local.storage_server import StorageServer

#: The whole demo is broken off after this long.
TIMEOUT_SECONDS = 120

#: Commands that are shown on the demo's own database in the end, and the worst exit code that is well: the
#: doctor warns of the jobs that the demo had fail.
LAST_COMMANDS = {"doctor": 1, "status": 0}

#: Where the report about the demo is written, in the folder it is started in, and what it is about.
REPORT = Path(".lf-worker") / "report.html"
REPORT_HOURS = 0.03


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print nothing but the summary, as one JSON object.")
    ] = False,
) -> None:
    """Run every kind of work on an embedded stack to its end; exit code 0 if all ended as expected."""
    console = Console(highlight=False)
    with (
        stops_in_order(),
        StorageServer() as storage,
        Post(storage) as post,
        open_display(console, quiet=as_json) as display,
    ):
        summary = run_demo(
            _scenarios(storage, post, display),
            display,
            timeout_seconds=TIMEOUT_SECONDS,
            environment={
                **storage.environment(),
                **post.environment(),
                **WORKFLOW_ENVIRONMENT,
                **TEAM_ENVIRONMENT,
            },
            commands={} if as_json else {**LAST_COMMANDS, _report_command(): 0},
            accidents=[Recovery(display.say)],
        )
    if as_json:
        print(json.dumps(summary.as_json()))
    else:
        print_summary(console, summary)
    if not summary.ok:
        _complain(summary, all_of_it=as_json)
        sys.exit(1)


def _report_command() -> str:
    # The commands run in the demo's own folder, which is gone afterwards.
    return f"report --hours {REPORT_HOURS} --out {shlex.quote(str(REPORT.absolute()))}"


def _scenarios(storage: StorageServer, post: Post, display: Display) -> list[Scenario]:
    return [
        LensRuns(),
        Battles(),
        Media(storage),
        Promotion(),
        Finalizing(),
        Webhooks(),
        VoteInspections(),
        Workflows(display.say, post),
        Teams(display.say),
    ]


def _complain(summary: Summary, *, all_of_it: bool) -> None:
    for line in [*summary.surprises, summary.trouble] if all_of_it else []:
        if line:
            print(line, file=sys.stderr)
    print(f"The logs are in {LOG_FOLDER}.", file=sys.stderr)
