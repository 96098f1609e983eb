"""`lf-worker nodes`: which types of nodes workflows may have, and what each is told and gives."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from app.cli.consoles import plain_console
from app.errors import SettingsError
from app.nodes.catalogue import catalogue, lacking
from app.nodes.handbook import handbook


def nodes(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a type.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/nodes.md.")] = False,
) -> None:
    """List the types of workflow nodes: what they do, and which are refused and why."""
    entries = catalogue()
    if as_json:
        for entry in entries:
            print(entry.model_dump_json(exclude_defaults=True))
        return
    if as_markdown:
        print(handbook(entries), end="")
        return
    lacks = _lacking()
    table = Table("type", "family", "effect", "does")
    for entry in entries:
        here = f" Not here: {lacks[entry.name]}." if entry.name in lacks else ""
        does = f"refused: it {entry.refused}" if entry.refused else entry.does + here
        table.add_row(entry.name, entry.family, entry.effect, does)
    plain_console().print(table)


def _lacking() -> dict[str, str]:
    """What this deployment lacks; nothing is known of one without settings."""
    try:
        return lacking()
    except SettingsError:
        return {}
