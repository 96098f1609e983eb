"""`lf-worker once`: do what there is to do, and end; for cron jobs and machines that are not always on."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer


def once(
    threads: Annotated[int, typer.Option(min=1, help="Jobs that are worked on at once.")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run every sweep, then work until nothing due is left.

    Retries that are due later are left and said. Exit code 0 if all is done, 1 if something failed for good
    or the work was interrupted, 2 if the settings or the database can't be used.
    """
    become_once(f"--threads={threads}", *(["--json"] if as_json else []))


def become_once(*options: str) -> None:
    """Go on as the program that drains; signals reach it, and nothing stands above it."""
    command = [sys.executable, "-m", "app.once", *options]
    os.execve(sys.executable, command, {**os.environ, "PLATFORM_API_WORKER_ONCE": "true"})  # noqa: S606
