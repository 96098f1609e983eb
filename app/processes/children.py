"""How child processes are started: tied to this one's life, with this interpreter's programs at hand."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from app.processes import launch
from app.processes.procfile import ProcessType

#: As whom a child runs; see `launch`.
Identity = Literal["self", "namespace", "setuid"]


def launch_command(
    *command: str, identity: Identity = "self", death_signal: signal.Signals = signal.SIGTERM
) -> list[str]:
    """A command line that becomes `command` and ends when the calling process does.

    The kernel takes the end of the thread that starts it for the end of the process: start from the main one.
    """
    python = [sys.executable, "-I", "-S", launch.__file__]
    return [*python, identity, str(int(death_signal)), str(os.getpid()), *command]


def shell_command(kind: ProcessType) -> list[str]:
    """A command line that becomes the program of a process type, whose line may use $VARIABLES."""
    return launch_command("/bin/sh", "-c", f"exec {kind.command}")


def with_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """Put this interpreter's programs first in PATH, as an activated virtualenv would."""
    programs = str(Path(sys.executable).parent)
    path = environment.get("PATH", os.defpath)
    return {**environment, "PATH": f"{programs}{os.pathsep}{path}", "PYTHONUNBUFFERED": "1"}
