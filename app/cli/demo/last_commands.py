"""Run commands of lf-worker against the demo's stack, the way a person would."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from app.errors import WorkerError
from app.local.stack import Stack

#: A command that takes longer is broken off.
TIMEOUT_SECONDS = 30

#: Columns that a command may fill where there is no terminal.
PLAIN_WIDTH = 120


class CommandFailedError(WorkerError):
    """A command about the demo's stack found something wrong, or could not be run."""


def run_command(name: str, worst_code: int, stack: Stack, width: int | None) -> str:
    """What `lf-worker <name>` prints of the stack's database, in colours if a terminal's `width` is given.

    The name may be followed by options. Raises `CommandFailedError` with the output when the exit code is
    worse than `worst_code`.
    """
    look = {"COLUMNS": str(width or PLAIN_WIDTH)} | ({"FORCE_COLOR": "1"} if width else {})
    try:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("lf-worker")), *shlex.split(name)],
            cwd=stack.directory,
            env={**stack.environment, **look},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailedError(f"lf-worker {name} did not end within {TIMEOUT_SECONDS} s") from None
    if not 0 <= done.returncode <= worst_code:
        raise CommandFailedError(f"lf-worker {name} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
