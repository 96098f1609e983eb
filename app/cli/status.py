"""`lf-worker status`: what waits, runs, was done and failed, and who does it."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, NoReturn

import typer
from psycopg2.extensions import connection
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Column, Table

from app.cli.consoles import plain_console
from app.cli.sessions import fetch, worker_session
from app.errors import DatabaseAway

#: Seconds between two looks of --watch.
WATCH_SECONDS = 1.0
#: Budgets are shown of which this share is spent or held.
NEARLY_SPENT = 0.8


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second until Ctrl-C.")] = False,
) -> None:
    """Show each kind of work, each queue, each AI provider and each worker."""
    if watch and not as_json:
        _watch()
    with worker_session() as session:
        if as_json:
            print(json.dumps(read_status(session), default=_plain))
        else:
            plain_console().print(_draw(read_status(session)))


def _watch() -> NoReturn:
    """Look again and again, through outages of the database too once there was a first look."""
    with worker_session() as session:
        first = _draw(read_status(session))
    with Live(first, console=plain_console(), auto_refresh=False) as live:
        while True:
            try:
                with worker_session() as session:
                    while True:
                        live.update(_draw(read_status(session)), refresh=True)
                        time.sleep(WATCH_SECONDS)
            except DatabaseAway as error:
                live.update(f"{error}; looking again", refresh=True)
                time.sleep(WATCH_SECONDS)


def read_status(session: connection) -> dict[str, Any]:
    """Everything that is shown, as it stands in the database; times in ms or s as the names say."""
    return {
        "kinds": {row.pop("kind"): row for row in fetch(session, "SELECT * FROM worker.kind_status()")},
        "queues": {
            row.pop("queue_name"): row
            for row in fetch(session, "SELECT * FROM worker.queues ORDER BY queue_name")
        },
        "providers": {
            row.pop("provider"): row for row in fetch(session, "SELECT * FROM worker.provider_status()")
        },
        "budgets": fetch(
            session,
            "SELECT * FROM worker.budget_status() b WHERE b.spent_usd + b.held_usd >= %s * b.limit_usd"
            " AND NOT (b.owner = '*') ORDER BY b.owner, b.period",
            (NEARLY_SPENT,),
        ),
        "hindrances": fetch(session, "SELECT * FROM worker.hindrances ORDER BY provider, model, hindrance"),
        "workers": fetch(
            session,
            """
            SELECT p.worker_id, p.threads, p.lease_until > now() AS alive,
                   extract(epoch FROM now() - p.started_at) AS up_seconds,
                   (SELECT count(*) FROM dramatiq.queue q WHERE q.owner = p.id) AS in_flight
            FROM worker.processes p ORDER BY p.worker_id
            """,
        ),
    }


def _draw(status: dict[str, Any]) -> Group:
    kinds = Table(Column("kind", no_wrap=True), box=None, padding=(0, 1, 0, 0))
    for heading in ("queued", "running", "retry", "stuck", "done/h", "fail/h"):
        kinds.add_column(heading, justify="right")
    for heading in ("pickup ms p50/p99", "duration ms p50/p99"):
        kinds.add_column(heading, justify="right")
    for kind, row in status["kinds"].items():
        counts = ("queued", "in_flight", "retrying", "stuck", "done_last_hour", "failed_last_hour")
        kinds.add_row(
            kind, *(str(row[name]) for name in counts), _times(row, "pickup"), _times(row, "duration")
        )
    return Group(
        kinds,
        "",
        *_draw_providers(status["providers"]),
        *_draw_hindrances(status["hindrances"]),
        *_draw_budgets(status["budgets"]),
        _draw_workers(status["workers"]),
    )


def _draw_providers(providers: dict[str, dict[str, Any]]) -> list[RenderableType]:
    if not providers:
        return []
    table = Table("provider", box=None, padding=(0, 1, 0, 0))
    for heading in ("calls/h", "errors/h", "rate", "ms p50/p99", "USD/h"):
        table.add_column(heading, justify="right")
    table.add_column("most frequent error")
    for provider, row in providers.items():
        counts = (str(row["calls_last_hour"]), str(row["errors_last_hour"]))
        error = row["most_frequent_error"] or ""
        cost = "" if row["cost_last_hour_usd"] is None else f"{row['cost_last_hour_usd']:,.4f}"
        table.add_row(provider, *counts, f"{row['error_rate']:.1%}", _times(row, "latency"), cost, error)
    return [table, ""]


def _draw_hindrances(rows: list[dict[str, Any]]) -> list[RenderableType]:
    if not rows:
        return []
    table = Table("calls wait for", "model", "key", "by", box=None, padding=(0, 2, 0, 0))
    for heading in ("waiting", "seconds left"):
        table.add_column(heading, justify="right")
    table.add_column("error")
    for row in rows:
        waiting = "" if row["waiting"] is None else str(row["waiting"])
        named = (row["provider"], row["model"], row["key"] or "", row["hindrance"])
        left_over = "" if row["seconds_left"] is None else f"{row['seconds_left']:.0f}"
        table.add_row(*named, waiting, left_over, row["error_code"] or "")
    return [table, ""]


def _draw_budgets(rows: list[dict[str, Any]]) -> list[RenderableType]:
    if not rows:
        return []
    table = Table("budget nearly spent", "of a", box=None, padding=(0, 2, 0, 0))
    for heading in ("limit USD", "spent", "held"):
        table.add_column(heading, justify="right")
    for row in rows:
        amounts = (f"{row[name]:,.2f}" for name in ("limit_usd", "spent_usd", "held_usd"))
        table.add_row(row["owner"], row["period"], *amounts)
    return [table, ""]


def _draw_workers(rows: list[dict[str, Any]]) -> RenderableType:
    if not rows:
        return "No worker runs."
    workers = Table("worker", "threads", "in flight", "up", "lease", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        up = f"{row['up_seconds'] / 60:.0f} min"
        alive = "held" if row["alive"] else "lost"
        workers.add_row(row["worker_id"], str(row["threads"]), str(row["in_flight"]), up, alive)
    return workers


def _times(row: dict[str, Any], name: str) -> str:
    middle, high = row[f"{name}_p50_ms"], row[f"{name}_p99_ms"]
    return "" if middle is None else f"{middle:.0f}/{high:.0f}"


def _plain(value: Any) -> Any:
    """Numbers of the database as JSON numbers; the rest as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)
