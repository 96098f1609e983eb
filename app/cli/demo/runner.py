"""Run every scenario on a stack of its own and watch it to the end."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import psycopg2
from psycopg2.extensions import connection

from app.cli.demo.battles import BATTLE_ENVIRONMENT
from app.cli.demo.display import Display
from app.cli.demo.last_commands import run_command
from app.cli.demo.media import MEDIA_ENVIRONMENT
from app.cli.demo.scenario import Accident, Scenario, Summary
from app.cli.demo.webhooks import ENVIRONMENT as WEBHOOK_ENVIRONMENT
from app.errors import WorkerError
from app.local.platform import seed
from app.local.postgres import EmbeddedPostgres, default_test_directory
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.migrations import migrate
from app.settings import environment_names

#: Where the logs of a demo that went wrong are kept, in the folder it is started in.
LOG_FOLDER = Path(".lf-worker") / "demo-logs"

POLL_SECONDS = 0.1


class DemoTimeoutError(WorkerError):
    """The demo took longer than it may."""


def run_demo(
    scenarios: Sequence[Scenario],
    display: Display,
    *,
    timeout_seconds: int,
    environment: Mapping[str, str] | None = None,
    commands: Mapping[str, int] | None = None,
    accidents: Sequence[Accident] = (),
) -> Summary:
    """Run the scenarios on real processes and an embedded database, and leave nothing behind.

    `environment` is what the processes get besides `demo_environment`. `commands` of lf-worker are run in the
    end, while the processes still run; each is named with the worst exit code that is well.
    `accidents` happen to the processes one after the other, when the scenarios have ended.
    What goes wrong stands in the summary; the logs of such a demo are kept in `LOG_FOLDER`.
    """
    summary = Summary()
    folder = Path(tempfile.mkdtemp(prefix="lf-worker-demo-", dir=default_test_directory()))
    try:
        with (
            _time_limit(timeout_seconds),
            _running_stack(folder, display, environment or {}) as (session, stack, providers),
        ):
            for scenario in scenarios:
                scenario.queue(session, providers)
            _watch(session, stack, scenarios, display, summary)
            for accident in accidents:
                accident.meet(stack)
                accident.queue(session, providers)
                _watch(session, stack, [accident], display, summary)
            for name, worst_code in (commands or {}).items():
                summary.reports[name] = run_command(name, worst_code, stack, display.width)
    except WorkerError as error:
        summary.trouble = str(error)
    finally:
        if not summary.ok:
            _keep_logs(folder)
        shutil.rmtree(folder)
    return summary


@contextmanager
def _running_stack(
    folder: Path, display: Display, extra: Mapping[str, str]
) -> Iterator[tuple[connection, Stack, ProviderServer]]:
    """A seeded platform with all processes at work on it, and a session for looking on."""
    with EmbeddedPostgres(folder / "data", durable=False) as server, ProviderServer() as providers:
        display.say("PostgreSQL is up.")
        applied = migrate(server.dsn, platform=True)
        seed(server.dsn)
        display.say(f"{len(applied)} migrations are applied, the platform is seeded.")
        environment = {**demo_environment(server.dsn, providers), **extra}
        # In a folder without an .env file: the demo must not depend on what a developer put there.
        with (
            Stack(folder, environment, directory=folder) as stack,
            closing(psycopg2.connect(server.dsn)) as session,
        ):
            session.autocommit = True
            _await_workers(session, stack)
            display.say(f"Running: {', '.join(stack.processes)}.")
            yield session, stack, providers


def demo_environment(dsn: str, providers: ProviderServer) -> dict[str, str]:
    """The processes' environment: none of the user's own settings, and the local server for every API."""
    inherited = {name: value for name, value in os.environ.items() if name not in environment_names()}
    keys = {name: f"demo-{name}" for name in environment_names() if name.endswith("_API_KEY")}
    return {
        **inherited,
        **keys,
        **providers.environment(),
        **WEBHOOK_ENVIRONMENT,
        **BATTLE_ENVIRONMENT,
        **MEDIA_ENVIRONMENT,
        # Storage is stood in for, Supabase Realtime is not.
        "WORKER_REALTIME_SOURCE": "postgres",
        "DATABASE_URL": dsn,
    }


def _await_workers(session: connection, stack: Stack) -> None:
    """Wait until a worker process has taken up its lease."""
    while True:
        stack.check()
        with session.cursor() as row:
            row.execute("SELECT EXISTS (SELECT FROM worker.processes WHERE lease_until > now())")
            if row.fetchone() == (True,):
                return
        time.sleep(POLL_SECONDS / 2)


def _watch(
    session: connection, stack: Stack, scenarios: Sequence[Scenario], display: Display, summary: Summary
) -> None:
    while True:
        for scenario in scenarios:
            summary.tallies[scenario.kind] = scenario.poll(session)
        display.update(summary)
        if summary.has_ended:
            return
        stack.check()
        time.sleep(POLL_SECONDS)


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Break off whatever goes on, a hanging call included, when the time is up."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise DemoTimeoutError(f"not finished after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _keep_logs(folder: Path) -> None:
    shutil.rmtree(LOG_FOLDER, ignore_errors=True)
    LOG_FOLDER.mkdir(parents=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, LOG_FOLDER)
