"""`lf-worker webhooks`: what is on its way and what failed; send it again, stop or reopen an endpoint."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any
from uuid import UUID

import typer
from psycopg2.extensions import connection
from rich.table import Table

from app.cli.consoles import plain_console
from app.cli.sessions import fetch, worker_session
from app.errors import SettingsError

app = typer.Typer(help="Look at webhooks, send them again, stop endpoints.", no_args_is_help=True)

Endpoint = Annotated[
    str, typer.Argument(help="A subscription's id, or the URL of the platform's own webhooks.")
]
State = Annotated[str | None, typer.Option(help="Only waiting, sending, delivered or dead ones.")]
OfEndpoint = Annotated[str | None, typer.Option("--endpoint", help="Only those of this endpoint.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")]

#: Replays are spread over this many seconds where nothing else is asked for, and over a week at most.
DEFAULT_SPREAD_SECONDS, LONGEST_SPREAD_SECONDS = 60.0, 604_800

_FIND = """
    SELECT o.*, e.disabled_at, e.disabled_reason, e.failing_since
    FROM worker.webhook_outbox o LEFT JOIN worker.webhook_endpoints e ON e.endpoint = o.endpoint
    WHERE (%(state)s::text IS NULL OR o.state = %(state)s)
      AND (%(endpoint)s::text IS NULL OR o.endpoint = %(endpoint)s)
      AND (%(id)s::uuid IS NULL OR o.id = %(id)s::uuid)
    ORDER BY o.created_at DESC LIMIT %(limit)s
"""


@app.command("list")
def list_webhooks(
    state: State = None,
    endpoint: OfEndpoint = None,
    limit: Limit = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a webhook.")] = False,
) -> None:
    """Show webhooks, the newest first, without their payloads."""
    with worker_session() as session:
        rows = _find(session, state=state, endpoint=endpoint, limit=limit)
    if as_json:
        for row in rows:
            print(json.dumps(row, default=str))
        return
    table = Table("id", "created at", "event", "host", "state", "attempts", "last error")
    for row in rows:
        created_at = f"{row['created_at']:%Y-%m-%d %H:%M:%S}"
        columns = (row[name] for name in ("event_type", "host", "state", "attempts", "last_error"))
        table.add_row(str(row["id"]), created_at, *("" if value is None else str(value) for value in columns))
    plain_console().print(table if rows else "No webhooks.")


@app.command()
def show(webhook: Annotated[str, typer.Argument(help="The webhook's id.")]) -> None:
    """Show one webhook with all its attempts and replays, as one JSON object."""
    webhook_id = _parse_id(webhook)
    with worker_session() as session:
        rows = _find(session, webhook_id=webhook_id)
        if not rows:
            raise SettingsError(f"there is no webhook {webhook}")
        attempts = fetch(
            session,
            "SELECT * FROM worker.webhook_attempts WHERE outbox_id = %s ORDER BY number",
            (webhook_id,),
        )
        replays = fetch(
            session, "SELECT * FROM worker.webhook_replays WHERE outbox_id = %s ORDER BY id", (webhook_id,)
        )
    print(json.dumps({**rows[0], "attempts_made": attempts, "replays": replays}, default=str, indent=2))


@app.command()
def replay(
    webhooks: Annotated[list[str] | None, typer.Argument(help="Ids of the webhooks.")] = None,
    state: State = None,
    endpoint: OfEndpoint = None,
    limit: Limit = 1_000,
    spread: Annotated[
        float,
        typer.Option(min=0.0, max=LONGEST_SPREAD_SECONDS, help="Seconds over which many are spread."),
    ] = DEFAULT_SPREAD_SECONDS,
) -> None:
    """Send webhooks again under their ids, with all their attempts before them; dead ones by default."""
    if not webhooks and state is None and endpoint is None:
        raise SettingsError("say which ones: ids, --state or --endpoint")
    with worker_session() as session:
        if webhooks:
            ids = [_parse_id(webhook) for webhook in webhooks]
        else:
            rows = _find(session, state=state or "dead", endpoint=endpoint, limit=limit)
            ids = [row["id"] for row in reversed(rows)]
        gap_ms = spread * 1000 / max(len(ids) - 1, 1)
        statement = "SELECT worker.replay_webhook(%s, %s, %s) AS done"
        operator = getpass.getuser()
        done = sum(
            fetch(session, statement, (webhook_id, round(place * gap_ms), operator))[0]["done"]
            for place, webhook_id in enumerate(ids)
        )
    left = len(ids) - done
    print(f"{done} replayed" + (f", {left} not: unknown, or being sent just now" if left else ""))


@app.command()
def disable(
    endpoint: Endpoint, reason: Annotated[str, typer.Option(help="Why, for whoever looks.")] = "by hand"
) -> None:
    """Send nothing more to an endpoint; what waits for it becomes dead letters."""
    with worker_session() as session:
        statement = "SELECT worker.disable_webhook_endpoint(%s, %s) AS stopped"
        stopped = fetch(session, statement, (endpoint, f"{reason} ({getpass.getuser()})"))[0]["stopped"]
    print(f"disabled, {stopped} waiting webhooks stopped")


@app.command()
def enable(endpoint: Endpoint) -> None:
    """Send to an endpoint again, and forget its failures; what was stopped can then be replayed."""
    with worker_session() as session:
        enabled = fetch(
            session,
            "UPDATE worker.webhook_endpoints SET disabled_at = NULL, disabled_reason = NULL, failures = 0,"
            " failing_since = NULL WHERE endpoint = %s RETURNING endpoint",
            (endpoint,),
        )
    if not enabled:
        raise SettingsError(f"nothing was ever sent to an endpoint {endpoint}")
    print("enabled")


def _find(
    session: connection,
    *,
    state: str | None = None,
    endpoint: str | None = None,
    webhook_id: UUID | None = None,
    limit: int = 1,
) -> list[dict[str, Any]]:
    if state not in {None, "waiting", "sending", "delivered", "dead", "unseen"}:
        raise SettingsError(f"no webhook is ever {state!r}")
    return fetch(session, _FIND, {"state": state, "endpoint": endpoint, "id": webhook_id, "limit": limit})


def _parse_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not the id of a webhook") from None
