"""`lf-worker enqueue lens-run`: prompts and lenses, on a reference platform."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated
from uuid import UUID

import typer
from psycopg2.extensions import connection

from app.cli.enqueue.platform import POLL_SECONDS, WAIT_SECONDS, reference_platform
from app.errors import DatabaseError, SettingsError
from app.local.platform import enqueue_lens_runs
from app.local.seeds import LENSES


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
        elif not _print_ends(session, ids):
            sys.exit(1)


def parse_inputs(pairs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each `label=value` as a pair; raises `SettingsError` for anything else."""
    for pair in pairs:
        label, equals, value = pair.partition("=")
        if not label or not equals:
            raise SettingsError(f"--input {pair!r} is not LABEL=VALUE")
        yield label, value


def _print_ends(session: connection, ids: Sequence[UUID]) -> bool:
    """Print each run's answer or error as it ends, and say whether all succeeded."""
    waiting, all_succeeded = set(ids), True
    deadline = time.monotonic() + WAIT_SECONDS
    session.autocommit = True
    while waiting:
        with session.cursor() as row:
            row.execute(
                "SELECT id, status, response_text, error_code, error_message FROM execution.runs "
                "WHERE id = ANY (%s::uuid[]) AND status NOT IN ('queued', 'running')",
                ([str(run_id) for run_id in waiting],),
            )
            for run_id, status, text, code, message in row.fetchall():
                waiting.remove(UUID(str(run_id)))
                all_succeeded &= status == "succeeded"
                print(f"{run_id} {status}: {text if status == 'succeeded' else f'{code}: {message}'}")
        if waiting and time.monotonic() >= deadline:
            raise DatabaseError(f"{len(waiting)} runs did not end within {WAIT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    return all_succeeded
