"""`lf-worker budgets`: what owners may spend on calls to AI providers, and what they have spent."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.consoles import plain_console
from app.cli.owners import owner_id_or_all
from app.cli.sessions import fetch, worker_session

app = typer.Typer(help="Look at the budgets of owners and change them.", no_args_is_help=True)


class Period(StrEnum):
    """What a budget is for, in UTC."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


Owner = Annotated[
    str,
    typer.Argument(
        help="The lenser's id; '*' for each owner who has no budget of its own.", callback=owner_id_or_all
    ),
]

#: What is larger is a slip.
MOST_USD = 1_000_000_000


@app.command("list")
def list_budgets(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a budget.")] = False,
) -> None:
    """Show every budget with what is spent, held by calls under way, and left of it."""
    with worker_session() as session:
        rows = fetch(session, "SELECT * FROM worker.budget_status() ORDER BY owner, period")
    if as_json:
        for row in rows:
            print(json.dumps(row, default=_plain))
        return
    table = Table("owner", "period", "limit USD", "spent", "held", "left", "own keys", "next begins (UTC)")
    for row in rows:
        amounts = (f"{row[name]:,.4f}" for name in ("limit_usd", "spent_usd", "held_usd", "left_usd"))
        owner = f"{row['owner']} (*)" if row["is_default"] else row["owner"]
        own_keys = "counted" if row["includes_own_keys"] else "free"
        next_begins = f"{row['resets_at']:%Y-%m-%d %H:%M}" if row["resets_at"] else "never"
        table.add_row(owner, row["period"], *amounts, own_keys, next_begins)
    plain_console().print(table)


@app.command("set")
def set_budget(
    owner: Owner,
    limit_usd: Annotated[float, typer.Option(min=0, max=MOST_USD, help="US dollars a period.")],
    period: Annotated[Period, typer.Option(help="Days and months are those of UTC.")] = Period.MONTH,
    include_own_keys: Annotated[
        bool, typer.Option("--include-own-keys", help="Count calls with the owner's own keys too.")
    ] = False,
) -> None:
    """Let an owner spend no more than this; in force with the next call, and counting from there."""
    with worker_session() as session:
        terms = (owner, period.value, limit_usd, include_own_keys)
        fetch(session, "SELECT worker.set_budget(%s, %s, %s, %s)", terms)
    print(f"{owner} may spend {Decimal(str(limit_usd)).normalize():f} USD ({period.value}).")


@app.command("unset")
def unset_budget(
    owner: Owner,
    period: Annotated[Period | None, typer.Option(help="This budget only; all without it.")] = None,
) -> None:
    """Take an owner's budgets away; one for everybody else then holds, if there is one."""
    with worker_session() as session:
        terms = (owner, period.value if period else None)
        gone = fetch(session, "SELECT worker.unset_budget(%s, %s) AS gone", terms)[0]["gone"]
    if not gone:
        print(f"{owner} has no such budget.")
        raise typer.Exit(1)
    print(f"{owner} has {gone} budget{'s' if gone > 1 else ''} less.")


def _plain(value: Any) -> Any:
    """Amounts as JSON numbers, times as ISO 8601."""
    return value.isoformat() if hasattr(value, "isoformat") else float(value)
