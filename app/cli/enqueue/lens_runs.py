"""`lf-worker enqueue lens-run`: prompts and lenses, on a reference platform."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from app.cli.enqueue.platform import print_ends, reference_platform
from app.errors import SettingsError
from app.local.platform import enqueue_lens_runs
from app.local.seeds import LENSES

_FIND_ENDS = """
    SELECT id, status = 'succeeded', concat(id, ' ', status, ': ', CASE
        WHEN status = 'succeeded' THEN response_text ELSE concat_ws(': ', error_code, error_message) END)
    FROM execution.runs WHERE id = ANY (%s::uuid[]) AND status NOT IN ('queued', 'running')
"""


def lens_run(
    model: Annotated[str, typer.Option(help="Key of the model, such as gpt-5.4.")],
    prompt: Annotated[str | None, typer.Option(help="What to ask; or use --lens.")] = None,
    system: Annotated[str | None, typer.Option(help="System message before the prompt.")] = None,
    lens: Annotated[str | None, typer.Option(help="Seeded lens whose newest version to run.")] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="LABEL=VALUE", help="Value of a lens parameter.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many equal runs.")] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the runs and print the answers.")] = False,
) -> None:
    """Queue lens runs and print their ids."""
    if (prompt is None) == (lens is None):
        raise SettingsError("give either --prompt or --lens")
    if lens is not None and lens not in LENSES:
        raise SettingsError(f"there is no lens {lens!r}: choose one of {', '.join(LENSES)}")
    values = dict(parse_inputs(inputs or ()))
    values |= {"prompt": prompt} if prompt is not None else {}
    values |= {"system": system} if system is not None else {}
    with reference_platform() as session:
        try:
            with session:
                ids = enqueue_lens_runs(session, count, model=model, inputs=values, lens=lens)
        except LookupError:
            raise SettingsError(f"there is no model {model!r} in ai.models") from None
        if not wait:
            print("\n".join(map(str, ids)))
        elif not print_ends(session, _FIND_ENDS, ids):
            sys.exit(1)


def parse_inputs(pairs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each `label=value` as a pair; raises `SettingsError` for anything else."""
    for pair in pairs:
        label, equals, value = pair.partition("=")
        if not label or not equals:
            raise SettingsError(f"--input {pair!r} is not LABEL=VALUE")
        yield label, value
