"""`lf-worker enqueue`: put work into a reference platform, the running `lf-worker dev` by default."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Annotated
from uuid import UUID

import psycopg2
import typer
from psycopg2.extensions import connection

from app.cli.dev import DATA_FOLDER
from app.errors import DatabaseError, SettingsError
from app.local.cluster_state import running_state
from app.local.platform import enqueue_lens_runs
from app.local.seeds import LENSES
from app.settings import load_settings

app = typer.Typer(help="Put work into the queue of a reference platform.", no_args_is_help=True)

#: How long `--wait` waits for the runs to end.
WAIT_SECONDS = 300.0
POLL_SECONDS = 0.1


@app.callback()
def enqueue() -> None:
    """Put work into the queue of a reference platform."""


@app.command("lens-run")
def lens_run(  # every parameter is an option of the command line
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


@contextmanager
def reference_platform() -> Iterator[connection]:
    """A session on DATABASE_URL, or else on the database of the `lf-worker dev` of this folder."""
    try:
        session = psycopg2.connect(find_dsn(), application_name="lf-worker enqueue", connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise DatabaseError(f"can't connect to the database: {_first_line(error)}") from None
    with closing(session):
        try:
            yield session
        except psycopg2.errors.UndefinedTable:
            raise DatabaseError("the database has no reference platform: start `lf-worker dev`") from None
        except psycopg2.Error as error:
            raise DatabaseError(f"the database refused: {_first_line(error)}") from None


def check_models(session: connection, models: Sequence[str]) -> None:
    """Raise `SettingsError` for the first key that no model has."""
    with session.cursor() as row:
        row.execute("SELECT m FROM unnest(%s) AS m EXCEPT SELECT key FROM ai.models", (list(models),))
        if unknown := [model for (model,) in row.fetchall()]:
            raise SettingsError(f"there is no model {unknown[0]!r} in ai.models")


def find_dsn() -> str:
    """DATABASE_URL, or else the database of the `lf-worker dev` of this folder."""
    try:
        return load_settings().database_url.get_secret_value()
    except SettingsError as error:
        state = running_state(DATA_FOLDER.absolute())
        if state is None:
            raise SettingsError(f"{error}; and no `lf-worker dev` runs in this folder") from None
        return load_settings(DATABASE_URL=state.dsn).database_url.get_secret_value()


def _first_line(error: psycopg2.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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
