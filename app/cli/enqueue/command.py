"""`lf-worker enqueue`: put work into a reference platform, the running `lf-worker dev` by default."""

from __future__ import annotations

import typer

from app.cli.enqueue.battles import battle
from app.cli.enqueue.lens_runs import lens_run
from app.cli.enqueue.teams import team_run

app = typer.Typer(help="Put work into the queue of a reference platform.", no_args_is_help=True)
app.command("lens-run")(lens_run)
app.command("battle")(battle)
app.command("team-run")(team_run)
