"""`lf-worker dead-letters`: jobs that failed for good; look at them, replay them, or let them rest."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any

import typer
from psycopg2.extensions import connection
from rich.table import Table

from app.cli.consoles import plain_console
from app.cli.sessions import fetch, worker_session
from app.errors import SettingsError

app = typer.Typer(help="Look at jobs that failed for good, replay or discard them.", no_args_is_help=True)

#: A century.
LONG_AGO_HOURS = 876_000

Kind = Annotated[str | None, typer.Option(help="Only of this kind, such as lens_run.")]
Code = Annotated[str | None, typer.Option(help="Only with this error code, such as key.revoked.")]
Since = Annotated[
    float | None, typer.Option("--hours", min=0, max=LONG_AGO_HOURS, help="Only of the last so many hours.")
]
Job = Annotated[str | None, typer.Option(help="Only this job, by the id of its row.")]
Limit = Annotated[int, typer.Option(min=1, max=5_000, help="At most so many, oldest first.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which ones would be meant.")]
Note = Annotated[str | None, typer.Option(help="Why, for the audit log.")]

#: Replays are spread over this many seconds where nothing else is asked for, and over a week at most.
DEFAULT_SPREAD_SECONDS, LONGEST_SPREAD_SECONDS = 60.0, 604_800


@app.command("list")
def list_letters(
    kind: Kind = None,
    code: Code = None,
    hours: Since = None,
    job: Job = None,
    limit: Limit = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a letter.")] = False,
) -> None:
    """Show dead letters, oldest first."""
    with worker_session() as session:
        letters = find_letters(session, kind, code, hours, job, limit)
    if as_json:
        for letter in letters:
            print(json.dumps(letter, default=str))
        return
    table = Table("failed at", "kind", "job", "code", "message", "attempts", "deaths")
    for letter in letters:
        failed_at = f"{letter['finished_at']:%Y-%m-%d %H:%M:%S}"
        columns = ("kind", "job", "error_code", "error_message", "attempt", "deaths")
        table.add_row(failed_at, *(str(letter[name]) for name in columns))
    plain_console().print(table if letters else "No dead letters.")


@app.command()
def replay(  # noqa: PLR0913, PLR0917 - every parameter is an option of the command line
    kind: Kind = None,
    code: Code = None,
    hours: Since = None,
    job: Job = None,
    limit: Limit = 1_000,
    spread: Annotated[
        float,
        typer.Option(min=0.0, max=LONGEST_SPREAD_SECONDS, help="Seconds over which many are spread."),
    ] = DEFAULT_SPREAD_SECONDS,
    dry_run: DryRun = False,
    note: Note = None,
) -> None:
    """Queue failed jobs again, with all their attempts before them."""
    _check_filter(kind, code, hours, job)
    with worker_session() as session:
        letters = find_letters(session, kind, code, hours, job, limit)
        gap_ms = spread * 1000 / max(len(letters) - 1, 1)
        done = (
            0
            if dry_run
            else sum(
                _settle(
                    session,
                    "SELECT worker.replay_dead_letter(%s, %s, %s, %s) AS done",
                    (letter["message_id"], round(place * gap_ms), getpass.getuser(), note),
                )
                for place, letter in enumerate(letters)
            )
        )
    print(_summary("replayed", done, letters, dry_run=dry_run))


@app.command()
def discard(
    kind: Kind = None,
    code: Code = None,
    hours: Since = None,
    job: Job = None,
    limit: Limit = 1_000,
    dry_run: DryRun = False,
    note: Note = None,
) -> None:
    """Take dead letters off the list; their jobs stay failed."""
    _check_filter(kind, code, hours, job)
    with worker_session() as session:
        letters = find_letters(session, kind, code, hours, job, limit)
        done = (
            0
            if dry_run
            else sum(
                _settle(
                    session,
                    "SELECT worker.discard_dead_letter(%s, %s, %s) AS done",
                    (letter["message_id"], getpass.getuser(), note),
                )
                for letter in letters
            )
        )
    print(_summary("discarded", done, letters, dry_run=dry_run))


def find_letters(
    session: connection,
    kind: str | None,
    code: str | None,
    hours: float | None,
    job: str | None,
    limit: int,
) -> list[dict[str, Any]]:
    """The dead letters that pass every given filter, oldest first."""
    return fetch(
        session,
        """
        SELECT * FROM worker.dead_letters d
        WHERE (%(kind)s::text IS NULL OR d.kind = %(kind)s)
          AND (%(code)s::text IS NULL OR d.error_code = %(code)s)
          AND (%(job)s::text IS NULL OR d.job::text = %(job)s)
          AND (%(hours)s::float IS NULL OR d.finished_at > now() - %(hours)s * interval '1 hour')
        ORDER BY d.finished_at LIMIT %(limit)s
        """,
        {"kind": kind, "code": code, "job": job, "hours": hours, "limit": limit},
    )


def _check_filter(*filters: object) -> None:
    if not any(given is not None for given in filters):
        raise SettingsError("say which ones: --kind, --code, --hours or --job")


def _settle(session: connection, statement: str, parameters: tuple[Any, ...]) -> bool:
    return bool(fetch(session, statement, parameters)[0]["done"])


def _summary(what: str, done: int, letters: list[dict[str, Any]], *, dry_run: bool) -> str:
    if dry_run:
        return f"{len(letters)} dead letters would be {what}"
    left = len(letters) - done
    return f"{done} {what}" + (f", {left} could not be: their rows have changed since" if left else "")
