"""`lf-worker queues`: look at the queues, pause them, and cap them, on all processes at once."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from psycopg2.extensions import connection
from rich.table import Table

from app.cli.consoles import plain_console
from app.cli.sessions import fetch, worker_session
from app.errors import SettingsError

app = typer.Typer(help="Look at the queues, pause them, and cap them.", no_args_is_help=True)

Queue = Annotated[str, typer.Argument(help="Name of the queue, such as lens_runs.")]


@app.command("list")
def list_queues(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a queue.")] = False,
) -> None:
    """Show what waits, is delayed, in flight and rejected in each queue."""
    with worker_session() as session:
        rows = _queues(session)
    if as_json:
        for row in rows:
            print(json.dumps(row, default=float))
        return
    table = Table("queue", "waiting", "oldest s", "delayed", "in flight", "rejected", "state")
    for row in rows:
        oldest = row["oldest_waiting_seconds"]
        table.add_row(
            row["queue_name"],
            str(row["waiting"]),
            "" if oldest is None else f"{oldest:.0f}",
            *(str(row[name]) for name in ("delayed", "in_flight", "rejected")),
            _state(row),
        )
    plain_console().print(table)


@app.command()
def pause(queue: Queue) -> None:
    """Let no process take messages of a queue; what runs goes on."""
    _control(queue, "SELECT worker.pause_queue(%(queue)s)")


@app.command()
def resume(queue: Queue) -> None:
    """Open a paused queue again."""
    _control(queue, "SELECT worker.pause_queue(%(queue)s, false)")


@app.command()
def cap(
    queue: Queue,
    at_most: Annotated[
        int,
        typer.Argument(min=0, max=1_000_000, help="Messages in flight over all processes; 0 lifts it."),
    ],
) -> None:
    """Limit how many messages of a queue all processes work on together."""
    _control(queue, "SELECT worker.cap_queue(%(queue)s, nullif(%(at_most)s, 0))", at_most=at_most)


def _control(queue: str, statement: str, **parameters: Any) -> None:
    with worker_session() as session:
        known = {row["queue_name"] for row in _queues(session)}
        if queue not in known:
            raise SettingsError(f"there is no queue {queue!r}: choose one of {', '.join(sorted(known))}")
        fetch(session, statement, {"queue": queue, **parameters})
        (now,) = (found for found in _queues(session) if found["queue_name"] == queue)
    print(f"{queue}: {_state(now)}")


def _queues(session: connection) -> list[dict[str, Any]]:
    return fetch(session, "SELECT * FROM worker.queues ORDER BY queue_name")


def _state(row: dict[str, Any]) -> str:
    if row["paused"]:
        return "paused"
    return f"at most {row['max_in_flight']} in flight" if row["max_in_flight"] else "open"
