"""The command `lf-worker`: what a developer or a platform runs by hand.

Exit codes: 0 done, 1 a process or a run failed, 2 the command can't be run as it was given. Every failure is
one line on stderr.
"""

from __future__ import annotations

import sys

from app.cli.late import Late, late_group
from app.errors import ProcessFailed, WorkerError

COMMANDS = {
    "migrate": Late(
        "app.cli.migrate:migrate",
        "Apply the migrations of the schema `worker` that DATABASE_URL lacks. Safe to repeat.",
    ),
    "run": Late(
        "app.cli.run:run",
        "Keep worker, scheduler and realtime alive until SIGTERM; a second signal kills what still runs.",
    ),
    "once": Late("app.cli.once:once", "Run every sweep, then work until nothing due is left."),
    "dev": Late(
        "app.cli.dev:dev",
        "Run the stack on an embedded PostgreSQL in .lf-worker until Ctrl-C; workers stop first.",
    ),
    "demo": Late(
        "app.cli.demo.command:demo",
        "Run every kind of work on an embedded stack to its end; exit code 0 if all ended as expected.",
    ),
    "doctor": Late(
        "app.cli.doctor.command:doctor",
        "Look at everything the worker depends on; exit code 0 fine, 1 warnings, 2 broken.",
    ),
    "status": Late(
        "app.cli.status:status", "Show each kind of work, each queue, each AI provider and each worker."
    ),
    "report": Late(
        "app.cli.report.command:report",
        "Write a page about the last hours: throughput, times, providers, costs, webhooks, dead letters.",
    ),
    "nodes": Late(
        "app.cli.nodes:nodes",
        "List the types of workflow nodes: what they do, and which are refused and why.",
    ),
    "enqueue": Late("app.cli.enqueue.command:app", "Put work into the queue of a reference platform."),
    "jobs": Late("app.cli.jobs:app", "Look at single jobs, end or cancel them."),
    "dead-letters": Late(
        "app.cli.dead_letters:app", "Look at jobs that failed for good, replay or discard them."
    ),
    "queues": Late("app.cli.queues:app", "Look at the queues, pause them, and cap them."),
    "limits": Late("app.cli.limits:app", "Look at the limits of AI providers and change them."),
    "budgets": Late("app.cli.budgets:app", "Look at the budgets of owners and change them."),
    "prices": Late("app.cli.prices:app", "Look at the prices of AI models and change them."),
    "webhooks": Late("app.cli.webhooks:app", "Look at webhooks, send them again, stop endpoints."),
    "workflows": Late("app.cli.workflows:app", "See what waits in workflow runs, and answer it."),
}

app = late_group(COMMANDS, help="The background worker of LenserFight.")


def main() -> None:
    """Run the command line, and turn the errors we raise on purpose into one line and an exit code."""
    try:
        app()
    except WorkerError as error:
        print("lf-worker:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1 if isinstance(error, ProcessFailed) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
