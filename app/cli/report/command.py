"""`lf-worker report`: what the worker did in the last hours, as one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.report.figures import read_figures
from app.cli.report.page import draw
from app.cli.sessions import worker_session
from app.errors import SettingsError


def report(
    out: Annotated[Path, typer.Option(help="File to write; one that is there is replaced.")],
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 31, help="How far back to look.")] = 24.0,
) -> None:
    """Write a page about the last hours: throughput, times, providers, costs, webhooks, dead letters."""
    with worker_session() as session:
        page = draw(read_figures(session, hours))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{out} can't be written: {error.strerror}") from None
    print(f"wrote {out}")
