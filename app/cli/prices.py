"""`lf-worker prices`: what models cost, from when on."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg2.extras import Json
from rich.table import Table

from app.cli.consoles import plain_console
from app.cli.price_file import PriceFileError, read_prices, read_time, write_prices
from app.cli.sessions import fetch, worker_session
from app.errors import SettingsError

app = typer.Typer(help="Look at the prices of AI models and change them.", no_args_is_help=True)

#: What is shown of a price: its columns, and their headings in dollars.
_HEADINGS = {
    "usd_per_million_input": "in",
    "usd_per_million_cached_input": "cached",
    "usd_per_million_cache_write": "written",
    "usd_per_million_output": "out",
    "usd_per_million_reasoning": "reasoning",
    "usd_per_image": "image",
    "usd_per_second": "second",
    "usd_per_request": "request",
}


@app.command("list")
def list_prices(
    at: Annotated[str, typer.Option(help="Prices of this day or time, instead of now; UTC.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a price.")] = False,
) -> None:
    """Show what each model costs, in dollars: a million tokens, an image, a second or a request."""
    moment = _moment(at, "--at")
    with worker_session() as session:
        rows = fetch(session, "SELECT * FROM worker.prices_at(%s)", (moment,))
    if as_json:
        for row in rows:
            print(json.dumps(row, default=str))
        return
    table = Table("provider", "model", title="US dollars: tokens by the million")
    for heading in _HEADINGS.values():
        table.add_column(heading, justify="right")
    table.add_column("from")
    table.add_column("source")
    for row in rows:
        shown = (_amount(row[name]) for name in _HEADINGS)
        table.add_row(row["provider"], row["model"], *shown, f"{row['valid_from']:%Y-%m-%d}", row["source"])
    plain_console().print(table)


@app.command("import")
def import_prices(
    file: Annotated[Path, typer.Argument(help="A CSV file such as `export` writes.")],
    valid_from: Annotated[
        str,
        typer.Option(help="From when on prices hold that name no time of their own; UTC. Else from now on."),
    ] = "",
) -> None:
    """Add prices; one of the same model and time is replaced. With one row wrong, none is imported."""
    moment = _moment(valid_from, "--valid-from")
    try:
        prices = read_prices(_content(file), valid_from=moment, source=file.name)
    except PriceFileError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise
    with worker_session() as session:
        told = Json([price.model_dump(mode="json") for price in prices])
        count = fetch(session, "SELECT worker.import_prices(%s) AS count", (told,))[0]["count"]
    print(f"{count} prices imported.")


@app.command("export")
def export_prices() -> None:
    """Print all prices, those of other times too, as a CSV file for `import`."""
    with worker_session() as session:
        rows = fetch(session, "SELECT * FROM worker.model_prices ORDER BY provider, model, valid_from")
    print(write_prices(rows), end="")


def _moment(text: str, option: str) -> datetime:
    try:
        return read_time(text) if text else datetime.now(UTC)
    except ValueError:
        raise typer.BadParameter(f"{option}: {text!r} is no date such as 2026-01-31") from None


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"can't read {file}: {error}") from None


def _amount(usd: Any) -> str:
    return "" if usd is None else f"{usd.normalize():f}"
