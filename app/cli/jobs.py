"""`lf-worker jobs`: one job's whole story, its kept answer, or its cancellation, by the id of its row."""

from __future__ import annotations

import getpass
import json
import time
from typing import Annotated, Any
from uuid import UUID

import psycopg2
import typer
from psycopg2.extensions import connection
from rich.console import Console
from rich.text import Text

from app.cli.consoles import plain_console
from app.cli.sessions import fetch, worker_session
from app.errors import SettingsError
from app.outages import passes
from app.refusals import refusal_of

app = typer.Typer(help="Look at single jobs, end or cancel them.", no_args_is_help=True)

#: How often `end` looks whether the answer is written.
LOOK_SECONDS = 0.2

_END = """
    SELECT EXISTS (SELECT FROM worker.kept_answers k WHERE k.kind = %(kind)s AND k.job = %(job)s) AS is_kept,
           c.outcome, c.error_code, c.error_message
    FROM (SELECT) AS one LEFT JOIN LATERAL (
        SELECT * FROM worker.claims c
        WHERE c.kind = %(kind)s AND c.job = %(job)s AND c.finished_at >= %(since)s
        ORDER BY c.finished_at DESC LIMIT 1) AS c ON true
"""

Job = Annotated[str, typer.Argument(help="Id of the job's row, such as that of a lens run.")]


@app.callback()
def jobs() -> None:
    """Look at single jobs, end or cancel them."""


@app.command()
def show(
    job: Job,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a claim.")] = False,
) -> None:
    """Tell a job's story: every claim, attempt, death and error, with times, and what its calls cost."""
    with worker_session() as session:
        claims = read_claims(session, _parse(job))
        answers = read_kept(session, _parse(job))
    if not claims:
        raise SettingsError(f"no worker has claimed a job {job}; it may still be queued, or be long gone")
    for claim in claims:
        if as_json:
            print(json.dumps(claim, default=str))
        else:
            _tell(plain_console(), claim)
    if as_json:
        return
    for kept in answers:
        print(_told_of_kept(kept))
    cost = claims[0]["job_cost_usd"]
    if cost is not None:
        print(f"Its calls to AI providers cost {cost:f} US dollars.")


@app.command()
def cancel(
    job: Job,
    note: Annotated[str | None, typer.Option(help="Why, for the audit log.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Cancel one job: a waiting one ends at once; a worker that is at it stops within a heartbeat."""
    with worker_session() as session:
        found = fetch(
            session, "SELECT * FROM worker.cancel_job(%s, %s, %s)", (_parse(job), getpass.getuser(), note)
        )
    if not found:
        raise SettingsError(f"there is no job {job}")
    (done,) = found
    if done["refusal"]:
        raise SettingsError(
            f"{done['kind']} {job} is {done['was']} and can't be cancelled: {done['refusal']}"
        )
    if as_json:
        print(json.dumps({"job": job, **done}))
    else:
        after = "; its worker stops within a heartbeat and writes nothing more" if done["was_at_work"] else ""
        print(f"cancelled {done['kind']} {job}, which was {done['was']}{after}")


@app.command()
def end(
    job: Job,
    wait: Annotated[float, typer.Option(min=0, max=3_600, help="Seconds to wait for a worker.")] = 60.0,
    note: Annotated[str | None, typer.Option(help="Why, for the audit log.")] = None,
) -> None:
    """Have a job's kept answer written, once the platform takes it: nothing is asked again."""
    with worker_session() as session:
        try:
            begun = fetch(
                session, "SELECT * FROM worker.end_job(%s, %s, %s)", (_parse(job), getpass.getuser(), note)
            )
        except psycopg2.Error as error:
            if passes(error):
                raise
            raise SettingsError(f"the platform still refuses it: {refusal_of(error, None).message}") from None
        if not begun:
            claims = read_claims(session, _parse(job))
            raise SettingsError(
                f"nothing is kept of {claims[-1]['kind']} {job}" if claims else f"there is no job {job}"
            )
        for ending in begun:
            print(_await_end(session, ending, time.monotonic() + wait))


def _await_end(session: connection, ending: dict[str, Any], deadline: float) -> str:
    """What became of a kept answer, in a sentence; raises SettingsError where it isn't written."""
    named = f"{ending['kind']} {ending['job']}"
    if ending["refusal"]:
        raise SettingsError(f"{named} can't be ended: {ending['refusal']}")
    while True:
        (found,) = fetch(session, _END, ending)
        if found["outcome"] in {"failed", "poison"}:
            raise SettingsError(f"{named} failed again: {found['error_code']}, {found['error_message']}")
        if found["outcome"] == "gone":
            raise SettingsError(f"{named} was cancelled or deleted meanwhile")
        if not found["is_kept"]:
            return f"{named} is written: {found['outcome'] or 'the job goes on'}"
        if time.monotonic() > deadline:
            raise SettingsError(f"{named} waits for a worker; its answer is kept until one has written it")
        time.sleep(LOOK_SECONDS)


def read_kept(session: connection, job: UUID) -> list[dict[str, Any]]:
    """What is kept of a job's answers, without the answers themselves."""
    return fetch(
        session,
        "SELECT kind, job, kept_at, refused_sqlstate, refused_reason FROM worker.fn_kept_answers_of(%s)",
        (job,),
    )


def _told_of_kept(kept: dict[str, Any]) -> str:
    refused = f"; the platform refused it: {kept['refused_reason']}" if kept["refused_sqlstate"] else ""
    return (
        f"Its answer is kept since {kept['kept_at']}{refused}. `lf-worker jobs end {kept['job']}` writes it."
    )


def read_claims(session: connection, job: UUID) -> list[dict[str, Any]]:
    """The claims of a job, oldest first, each with the state of its message and the cost of the whole job."""
    return fetch(
        session,
        """
        SELECT c.*, q.state AS message_state, q.mtime AS message_since, p.worker_id AS held_by,
               worker.fn_job_cost_usd(c.job) AS job_cost_usd
        FROM worker.claims c
        LEFT JOIN dramatiq.queue q ON q.message_id = c.message_id
        LEFT JOIN worker.processes p ON p.id = q.owner AND q.state = 'consumed'
        WHERE c.job = %s ORDER BY c.first_claimed_at
        """,
        (job,),
    )


def _parse(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not an id") from None


def _tell(console: Console, claim: dict[str, Any]) -> None:
    console.print(Text(claim["kind"], "bold"), f"{claim['job']} (message {claim['message_id']})")
    console.print(f"  {claim['ticket_at']}  ticket written")
    for entry in claim["history"]:
        error = f": {entry['error_code']}, {entry['error_message']}" if entry.get("error_code") else ""
        console.print(
            f"  {entry['from']}  attempt {entry['attempt']} on {entry['worker_id']}; "
            f"{entry['ended'].replace('_', ' ')} at {entry['to']}{error}",
            soft_wrap=True,
        )
    console.print(f"  {claim['claimed_at']}  attempt {claim['attempt']} on {claim['worker_id']}")
    if claim["finished_at"]:
        error = f": {claim['error_code']}, {claim['error_message']}" if claim["error_code"] else ""
        console.print(f"  {claim['finished_at']}  {claim['outcome']}{error}", soft_wrap=True)
    else:
        holder = f", held by {claim['held_by']}" if claim["held_by"] else ""
        message = f"message {claim['message_state'] or 'lost'} since {claim['message_since']}"
        console.print(f"  now: {claim['state'].replace('_', ' ')}; {message}{holder}", soft_wrap=True)
