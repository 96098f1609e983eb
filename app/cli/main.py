"""The command `lf-worker`: what a developer or a platform runs by hand.

Exit codes: 0 done, 1 a process or a run failed, 2 the command can't be run as it was given. Every failure is
one line on stderr.
"""

from __future__ import annotations

import sys

import typer

from app.cli import (
    budgets,
    dead_letters,
    dev,
    enqueue,
    enqueue_battles,
    enqueue_teams,
    jobs,
    limits,
    migrate,
    nodes,
    once,
    prices,
    queues,
    run,
    status,
    webhooks,
    workflows,
)
from app.cli.demo import command
from app.cli.doctor import command as doctor_command
from app.cli.report import command as report_command
from app.errors import WorkerError
from app.local.stack import StackError

app = typer.Typer(
    help="The background worker of LenserFight.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("migrate")(migrate.migrate)
app.command("run")(run.run)
app.command("once")(once.once)
app.command("dev")(dev.dev)
app.command("demo")(command.demo)
app.command("doctor")(doctor_command.doctor)
app.command("status")(status.status)
app.command("report")(report_command.report)
app.command("nodes")(nodes.nodes)
enqueue.app.command("battle")(enqueue_battles.battle)
enqueue.app.command("team-run")(enqueue_teams.team_run)
app.add_typer(enqueue.app, name="enqueue")
app.add_typer(jobs.app, name="jobs")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(queues.app, name="queues")
app.add_typer(limits.app, name="limits")
app.add_typer(budgets.app, name="budgets")
app.add_typer(prices.app, name="prices")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(workflows.app, name="workflows")


def main() -> None:
    """Run the command line, and turn the errors we raise on purpose into one line and an exit code."""
    try:
        app()
    except WorkerError as error:
        print("lf-worker:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1 if isinstance(error, StackError | run.ReleaseFailed) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
