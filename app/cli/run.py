"""`lf-worker run`: every process of the worker under one, for a single machine or container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from app.boot import prepare
from app.cli.once import become_once
from app.errors import ProcessFailed
from app.processes import (
    RELEASE,
    ProcessType,
    Supervisor,
    read_procfile,
    repository_procfile,
    shell_command,
    with_programs,
)
from app.processes.service import Service
from app.settings import Settings

log = structlog.get_logger(__name__)

#: The Procfile's workers hand back what is left after 25 s.
DEFAULT_GRACE_SECONDS = 30.0

REALTIME = "realtime"


def run(
    grace_seconds: Annotated[
        float, typer.Option(min=0.0, help="Time that running jobs get after SIGTERM.")
    ] = DEFAULT_GRACE_SECONDS,
    migrate: Annotated[bool, typer.Option("--migrate", help="Run the release step first.")] = False,
) -> None:
    """Keep worker, scheduler and realtime alive until SIGTERM; a second signal kills what still runs.

    Exit code 0 if all ended well when told to, 1 if one didn't or couldn't be kept alive, 2 if the settings
    or the database can't be used.
    """
    types = {kind.name: kind for kind in read_procfile(repository_procfile())}
    environment = with_programs(os.environ)
    release = types.pop(RELEASE)
    if migrate:
        _release(release, environment)
    settings = prepare()
    if settings.worker_once:
        become_once()
    services = [
        Service(kind, environment, Path.cwd(), sys.stdout.buffer)
        for kind in types.values()
        if kind.name != REALTIME or _needs_realtime(settings)
    ]
    sys.exit(Supervisor(services, grace_seconds=grace_seconds).run())


def _release(release: ProcessType, environment: dict[str, str]) -> None:
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
