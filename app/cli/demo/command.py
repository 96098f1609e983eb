"""`lf-worker demo`: every kind of work, from queued to done, in one command that ends by itself."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from app.cli.demo.battle_sweeps import Finalizing, Promotion
from app.cli.demo.battles import Battles
from app.cli.demo.display import MAX_WIDTH, Display, open_display, print_verdict
from app.cli.demo.last_commands import look_with_commands
from app.cli.demo.lens_runs import LensRuns
from app.cli.demo.media import Media
from app.cli.demo.messages import Messages
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

_INTRODUCTION = """\
Every kind of work that lf-worker does, from queued to done. AI providers, mail,
chats, Storage and webhook endpoints are local servers: nothing leaves this
machine."""

#: The whole demo is broken off after this long.
TIMEOUT_SECONDS = 300


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print nothing but the summary, as one JSON object.")
    ] = False,
) -> None:
    """Run every kind of work on an embedded stack to its end; exit code 0 if all ended as expected."""
    console = Console(highlight=False)
    began = time.monotonic()
    if not as_json:
        console.print(_INTRODUCTION)
    with (
        stops_in_order(),
        StorageServer() as storage,
        Post(storage) as post,
        open_display(console, quiet=as_json) as display,
    ):
        summary = run_demo(
            _acts(storage, post, display),
            display,
            timeout_seconds=TIMEOUT_SECONDS,
            environment={
                **storage.environment(),
                **post.environment(),
                **WORKFLOW_ENVIRONMENT,
                **TEAM_ENVIRONMENT,
            },
            afterwards=lambda stack: look_with_commands(
                stack, display, None if as_json else min(console.width, MAX_WIDTH)
            ),
        )
    if as_json:
        print(json.dumps(summary.as_json()))
    else:
        print_verdict(console, summary, time.monotonic() - began)
    if not summary.ok:
        _complain(summary, all_of_it=as_json)
        sys.exit(1)


def _acts(storage: StorageServer, post: Post, display: Display) -> list[list[Scenario]]:
    """What is queued together; what is told live has the stage to itself, and who is killed comes last."""
    return [
        [LensRuns(), Battles(), Promotion(), Finalizing(), VoteInspections(), Media(storage), Webhooks()],
        [Workflows(display.say)],
        [Messages(display.say, post)],
        [Teams(display.say)],
        [Recovery(display.say)],
    ]


def _complain(summary: Summary, *, all_of_it: bool) -> None:
    for line in summary.faults if all_of_it else []:
        print(line, file=sys.stderr)
    print(f"The logs are in {LOG_FOLDER}.", file=sys.stderr)
