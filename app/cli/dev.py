"""`lf-worker dev`: the whole stack on this machine, on an embedded database, until Ctrl-C."""

from __future__ import annotations

import os
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from app.cli.folders import DATA_FOLDER, STATE_FOLDER
from app.cli.signals import stops_in_order
from app.errors import DatabaseError, SettingsError
from app.local.platform import seed
from app.local.postgres import AlreadyRunning, EmbeddedPostgres
from app.local.stack import Stack
from app.migrations import migrate
from app.settings import Settings, load_settings

#: How often the processes are looked after.
CHECK_SECONDS = 0.2

#: Kinds of work that are off by default and on here.
_ALL_KINDS = {
    "PLATFORM_API_BATTLE_WORKER_ENABLED": "true",
    "PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true",
    "PLATFORM_API_TEAM_RUN_WORKER_ENABLED": "true",
}

#: A Supabase project that the user's settings name knows nothing of the embedded database's votes.
_EMBEDDED = {"WORKER_REALTIME_SOURCE": "postgres"}

_COLOURS = {"release": "blue", "worker": "green", "scheduler": "magenta", "realtime": "cyan"}


def dev() -> None:
    """Run the stack on an embedded PostgreSQL in .lf-worker until Ctrl-C; workers stop first."""
    console = Console(highlight=False, soft_wrap=True)
    with stops_in_order():
        try:
            _run(console)
        except KeyboardInterrupt:
            console.print("Stopped.")


def _run(console: Console) -> None:
    with _open_database() as server:
        _prepare(server.dsn)
        environment = choose_environment(server.dsn)
        stack = Stack(
            STATE_FOLDER.absolute(),
            {**_ALL_KINDS, **os.environ, **environment, **_EMBEDDED},
            directory=Path.cwd(),
            echo=lambda name, line: console.print(_prefixed(name, line)),
        )
        with stack:
            _explain(console, server.dsn, is_echoing="ECHO_PROVIDER" in environment)
            while True:
                stack.check()
                time.sleep(CHECK_SECONDS)


def _open_database() -> EmbeddedPostgres:
    server = EmbeddedPostgres(DATA_FOLDER)
    try:
        server.start()
    except AlreadyRunning as running:
        where = f"; connect with: psql '{running.state.dsn}'" if running.state else ""
        raise SettingsError(f"`lf-worker dev` already runs in {Path.cwd()}{where}") from None
    return server


def _prepare(dsn: str) -> None:
    try:
        migrate(dsn, platform=True)
    except DatabaseError as error:
        raise DatabaseError(f"{error}; remove {STATE_FOLDER} to begin anew") from None
    seed(dsn)


def choose_environment(dsn: str) -> dict[str, str]:
    """What the processes get on top of the user's own environment and .env file.

    Every model is served by the echo provider unless the user set that themselves or has a key.
    """
    chosen = load_settings(DATABASE_URL=dsn)
    if "echo_provider" in chosen.model_fields_set or _has_provider_key(chosen):
        return {"DATABASE_URL": dsn}
    return {"DATABASE_URL": dsn, "ECHO_PROVIDER": "1"}


def _has_provider_key(chosen: Settings) -> bool:
    keys = (name for name in Settings.model_fields if name.endswith("_api_key"))
    return any(getattr(chosen, name).get_secret_value().strip() for name in keys)


def _explain(console: Console, dsn: str, *, is_echoing: bool) -> None:
    console.print(f"[bold]Database[/]  psql '{dsn}'")
    console.print("[bold]Queue[/]     lf-worker enqueue lens-run --model gpt-5.4 --prompt 'Say hello' --wait")
    console.print(f"[bold]Logs[/]      {STATE_FOLDER}/*.log")
    if is_echoing:
        console.print("[bold]Models[/]    all served by the echo provider, since no provider key is set")
    console.print("Ctrl-C stops it.")


def _prefixed(name: str, line: str) -> Text:
    return Text.assemble((f"{name:<9} | ", _COLOURS.get(name, "white")), line)
