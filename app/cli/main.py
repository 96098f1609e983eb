"""The command `lf-worker`: what a developer or a platform runs by hand.

Exit codes: 0 done, 1 a process or a run failed, 2 the command can't be run as it was given. Every failure is
one line on stderr.
"""

from __future__ import annotations

import sys

import typer

from app.cli import dev, enqueue, migrate
from app.cli.demo import command
from app.errors import WorkerError
from app.local.stack import StackError

app = typer.Typer(
    help="The background worker of LenserFight.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("migrate")(migrate.migrate)
app.command("dev")(dev.dev)
app.command("demo")(command.demo)
app.add_typer(enqueue.app, name="enqueue")


def main() -> None:
    """Run the command line, and turn the errors we raise on purpose into one line and an exit code."""
    try:
        app()
    except WorkerError as error:
        print("lf-worker:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1 if isinstance(error, StackError) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
