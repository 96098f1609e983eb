"""`lf-worker limits`: what all processes together may send to providers, and whose calls go first."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from app.cli.consoles import plain_console
from app.cli.owners import owner_id
from app.cli.sessions import fetch, worker_session

app = typer.Typer(help="Look at the limits of AI providers and change them.", no_args_is_help=True)

#: More than any provider allows; what is larger is a slip.
MOST_A_MINUTE, MOST_AT_ONCE, MOST_WEIGHT = 1e12, 1_000_000, 1_000

Scope = Annotated[str, typer.Argument(help="A provider, or one of its models: openai, openai/gpt-4.1.")]


@app.command("list")
def list_limits(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a limit.")] = False,
) -> None:
    """Show every limit, and how many calls are under way or wait for it."""
    with worker_session() as session:
        rows = fetch(session, "SELECT * FROM worker.limit_status() ORDER BY provider, model")
    if as_json:
        for row in rows:
            print(json.dumps(row, default=float))
        return
    table = Table(
        "provider", "model", "requests/min", "tokens/min", "at once", "under way", "waiting", "set by"
    )
    for row in rows:
        limits = (row["requests_per_minute"], row["tokens_per_minute"], row["concurrency"])
        shown = ("" if limit is None else f"{limit:,.0f}" for limit in limits)
        counts = (str(row["under_way"]), str(row["waiting"]))
        table.add_row(row["provider"], row["model"], *shown, *counts, row["source"])
    plain_console().print(table)


@app.command("set")
def set_limit(
    scope: Scope,
    requests_per_minute: Annotated[float | None, typer.Option(min=0.001, max=MOST_A_MINUTE)] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(min=0.001, max=MOST_A_MINUTE)] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, max=MOST_AT_ONCE, help="Calls at once.")] = None,
) -> None:
    """Limit what each key may send, in place of what the settings say; effective with the next call."""
    provider, model = _read(scope)
    limits = (requests_per_minute, tokens_per_minute, concurrency)
    if not any(limits):
        raise typer.BadParameter("name at least one limit")
    with worker_session() as session:
        fetch(session, "SELECT worker.set_limit(%s, %s, %s, %s, %s)", (provider, model, *limits))
    print(f"{provider}/{model} is limited.")


@app.command("unset")
def unset_limit(scope: Scope) -> None:
    """Take a limit away; one of the settings comes back when the next process starts."""
    provider, model = _read(scope)
    with worker_session() as session:
        gone = fetch(session, "SELECT worker.unset_limit(%s, %s) AS gone", (provider, model))[0]["gone"]
    if not gone:
        print(f"{provider}/{model} has no limit.")
        raise typer.Exit(1)
    print(f"{provider}/{model} is no longer limited.")


@app.command("weigh")
def weigh_owner(
    owner: Annotated[str, typer.Argument(help="The lenser's id.", callback=owner_id)],
    weight: Annotated[
        float,
        typer.Argument(min=0.01, max=MOST_WEIGHT, help="1 is everybody's share; 3 is three times as much."),
    ],
) -> None:
    """Give an owner a larger or a smaller share of what there is to share."""
    with worker_session() as session:
        fetch(session, "SELECT worker.weigh_owner(%s, %s)", (owner, weight))
    print(f"{owner} weighs {weight:g}.")


def _read(scope: str) -> tuple[str, str]:
    provider, _, model = scope.strip().partition("/")
    if not provider:
        raise typer.BadParameter("name a provider")
    return provider.lower(), model or "*"
