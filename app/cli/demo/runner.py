"""Run every scenario on a stack of its own and watch it to the end."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg2
from psycopg2.extensions import connection

from app.cli.demo.battles import BATTLE_ENVIRONMENT
from app.cli.demo.display import Display
from app.cli.demo.media import MEDIA_ENVIRONMENT
from app.cli.demo.readiness import await_stack
from app.cli.demo.scenario import Accident, Scenario, Summary
from app.cli.demo.webhooks import ENVIRONMENT as WEBHOOK_ENVIRONMENT
from app.cli.demo.webhooks import sign_platform_webhooks
from app.errors import WorkerError
from app.local.platform import seed
from app.local.postgres import EmbeddedPostgres, default_test_directory
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.migrations import migrate
from app.settings import environment_names

#: Where the logs of a demo that went wrong are kept, in the folder it is started in.
LOG_FOLDER = Path(".lf-worker") / "demo-logs"

#: The database is migrated before, so that the release step has nothing to do.
LONG_RUNNING = ("worker", "scheduler", "realtime")

POLL_SECONDS = 0.1


class DemoTimeoutError(WorkerError):
    """The demo took longer than it may."""


def run_demo(
    acts: Sequence[Sequence[Scenario]],
    display: Display,
    *,
    timeout_seconds: int,
    environment: Mapping[str, str] | None = None,
    afterwards: Callable[[Stack], dict[str, Any]] | None = None,
) -> Summary:
    """Run the scenarios on real processes and an embedded database, and leave nothing behind.

    The scenarios of an act are queued together, and an act begins when the one before has ended.
    `environment` is what the processes get besides `demo_environment`. `afterwards` is done in the end, while
    the processes still run. What goes wrong stands in the summary; the logs of such a demo are kept in
    `LOG_FOLDER`.
    """
    summary = Summary()
    folder = Path(tempfile.mkdtemp(prefix="lf-worker-demo-", dir=default_test_directory()))
    try:
        with (
            _time_limit(timeout_seconds),
            _running_stack(folder, display, environment or {}) as (session, stack, providers),
        ):
            for act in acts:
                _play(act, session, stack, providers, display, summary)
            if afterwards and summary.ok:
                summary.commands = afterwards(stack)
    except DemoTimeoutError as error:
        waits_for = f"; unfinished: {', '.join(summary.unfinished)}" if summary.unfinished else ""
        summary.trouble = f"{error}{waits_for}"
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
    began = time.monotonic()
    display.heading("The stack", "A database of its own and the processes that production runs:")
    with EmbeddedPostgres(folder / "data", durable=False) as server, ProviderServer() as providers:
        display.say(f"{_passed(began)}  PostgreSQL is up")
        applied = migrate(server.dsn, platform=True)
        seed(server.dsn)
        sign_platform_webhooks(server.dsn)
        display.say(f"{_passed(began)}  {len(applied)} migrations are applied, people and models are there")
        environment = {**demo_environment(server.dsn, providers), **extra}
        # In a folder without an .env file: the demo must not depend on what a developer put there.
        with (
            Stack(folder, environment, directory=folder, only=LONG_RUNNING) as stack,
            closing(psycopg2.connect(server.dsn)) as session,
        ):
            session.autocommit = True
            await_stack(session, stack)
            display.say(f"{_passed(began)}  {', '.join(stack.processes)} are ready")
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


def _play(
    act: Sequence[Scenario],
    session: connection,
    stack: Stack,
    providers: ProviderServer,
    display: Display,
    summary: Summary,
) -> None:
    """Queue all scenarios of an act, and show each one when those before it have ended and been shown."""
    began = time.monotonic()
    for scenario in act:
        if isinstance(scenario, Accident):
            scenario.meet(stack)
        scenario.queue(session, providers)
    for scenario in act:
        display.heading(scenario.title, scenario.story)
        while scenario.kind not in summary.seconds:
            stack.check()
            _look(act, session, began, summary)
            display.update(summary)
            if scenario.kind not in summary.seconds:
                time.sleep(POLL_SECONDS)
        display.results(summary.tallies[scenario.kind], summary.seconds[scenario.kind])


def _look(act: Sequence[Scenario], session: connection, began: float, summary: Summary) -> None:
    """Bring the tallies of all scenarios that have not ended up to date."""
    for scenario in act:
        if scenario.kind not in summary.seconds:
            tallies = summary.tallies[scenario.kind] = scenario.poll(session)
            if all(tally.ended == tally.total for tally in tallies):
                summary.seconds[scenario.kind] = time.monotonic() - began


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


def _passed(began: float) -> str:
    return f"{time.monotonic() - began:4.1f} s"


def _keep_logs(folder: Path) -> None:
    shutil.rmtree(LOG_FOLDER, ignore_errors=True)
    LOG_FOLDER.mkdir(parents=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, LOG_FOLDER)
