"""`lf-worker run`: the worker's processes under one that keeps them alive."""

from __future__ import annotations

import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
import typer

from app import memory
from app.cli.once import become_once
from app.errors import ProcessFailed
from app.processes import ProcessType, Supervisor, shell_command, with_programs
from app.processes.service import Service
from app.settings import Settings
from app.startup import prepare

log = structlog.get_logger(__name__)

#: Heroku kills 30 s after SIGTERM.
DEFAULT_GRACE_SECONDS = 29.0
#: What a worker process needs of it to hand back what it has not finished.
HAND_BACK_SECONDS = 4.0


#: glibc gives every thread a heap of its own by default, each of which keeps what its largest job has had.
ARENAS = {"MALLOC_ARENA_MAX": "2"}

#: The share of a machine's memory that worker processes may have; the rest is for those beside them.
WORKERS_SHARE = 0.8


class Kind(StrEnum):
    """What can be run."""

    WORKER = "worker"
    SCHEDULER = "scheduler"
    REALTIME = "realtime"


def run(  # options of a command
    kinds: Annotated[
        list[Kind] | None, typer.Argument(help="What to run: everything where nothing is named.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Worker processes. Should one die, the others go on.")
    ] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Jobs that each worker process works on at once.")] = 32,
    grace_seconds: Annotated[
        float, typer.Option(min=0.0, help="Time from SIGTERM until what still runs is killed.")
    ] = DEFAULT_GRACE_SECONDS,
    migrate: Annotated[bool, typer.Option("--migrate", help="Run `lf-worker migrate` first.")] = False,
) -> None:
    """Keep worker, scheduler and realtime alive until SIGTERM; a second signal kills what still runs.

    A process that ends is started again, and its siblings are left alone. Jobs that are still running 4 s
    before the grace time is over are handed back. Exit code 0 if all ended well when told to, 1 if one
    didn't, 2 if the settings or the database can't be used.
    """
    environment = {**ARENAS, **with_programs(os.environ)}
    if migrate:
        _migrate(environment)
    settings = prepare()
    if settings.memory_limit_mb is None:
        environment |= _memory_share(processes)
    if settings.worker_once:
        become_once(f"--threads={threads}")
    wanted = [kind for kind in Kind if not kinds or kind in kinds]
    if not kinds and not _needs_realtime(settings):
        wanted.remove(Kind.REALTIME)
    shutdown_seconds = max(grace_seconds - HAND_BACK_SECONDS, 0.0)
    types = [each for kind in wanted for each in _types(kind, processes, threads, shutdown_seconds)]
    services = [Service(each, environment, Path.cwd(), sys.stdout.buffer) for each in types]
    sys.exit(Supervisor(services, grace_seconds=grace_seconds).run())


def _types(kind: Kind, processes: int, threads: int, shutdown_seconds: float) -> list[ProcessType]:
    if kind is Kind.SCHEDULER:
        return [ProcessType("scheduler", "periodiq app.schedules")]
    if kind is Kind.REALTIME:
        return [ProcessType("realtime", "python -m realtime")]
    work = f"python -m app.worker --threads {threads} --shutdown-seconds {shutdown_seconds:g}"
    return [
        ProcessType(f"worker.{number}", f"env WORKER_PROCESS_NUMBER={number} {work}")
        for number in range(1, processes + 1)
    ]


def _memory_share(processes: int) -> dict[str, str]:
    """What each worker process may have of the machine's memory, where that is limited."""
    limit_bytes = memory.machine_limit_bytes()
    if limit_bytes is None:
        return {}
    return {"WORKER_MEMORY_LIMIT_MB": str(round(limit_bytes * WORKERS_SHARE / processes) >> 20)}


def _migrate(environment: dict[str, str]) -> None:
    release = ProcessType("release", "lf-worker migrate")
    code = subprocess.run(shell_command(release), env=environment, check=False).returncode
    if code != 0:
        raise ProcessFailed(f"`{release.command}` ended with code {code}")


def _needs_realtime(settings: Settings) -> bool:
    """Whether there is anything to listen for; where it comes from is said once."""
    if not settings.vote_anomaly_enabled and not settings.workflow_dispatch_enabled:
        log.info("realtime is not started: neither votes nor battle events are wanted")
        return False
    if settings.realtime_source != "postgres" and not settings.supabase_url:
        log.info("realtime listens to the database, since SUPABASE_URL is not set")
    return True
