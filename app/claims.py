"""Claims: which message works on which job, so that a job is never lost and never done twice.

A message is a ticket: it says that there is a job of its kind to do, and perhaps which. The first time it
is worked on, that job, or else the next one, is claimed and recorded under the message's id in the same
transaction; when the message comes again, after an error, a deploy or the death of its worker, the record
leads to the same job. Results are written together with the end of the claim, and only by its newest
attempt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from psycopg2.extensions import cursor

from app.calls import Call, call_parameters
from app.database import Database
from app.errors import JobError, PutBack, StaleClaim
from app.telemetry import settled

Job = TypeVar("Job")


class Opened(StrEnum):
    """What a message was found to stand for; the values of worker.open_claim."""

    CLAIMED = "claimed"
    RESUMED = "resumed"
    POISON = "poison"
    NOTHING = "nothing"
    FINISHED = "finished"
    GONE = "gone"
    TAKEN = "taken"
    WAIT = "wait"
    LOCKED = "locked"


@dataclass
class Claim(Generic[Job]):
    """One attempt at one job.

    `job` is the claimed row, parsed; `errors` and `deaths` count what earlier attempts ended in. `bound`
    says that the job's call took a place under a limit, which it gives back when it is over; `owner` is whose
    budgets it is under, None where it is under none. `calls` are those to providers that are still to be
    written down.
    """

    database: Database
    message_id: UUID
    kind: str
    job_id: UUID
    job: Job
    attempt: int
    errors: int
    deaths: int
    bound: bool = False
    owner: str | None = None
    calls: list[Call] = field(default_factory=list)

    @contextmanager
    def finish(self, outcome: str = "succeeded", error: JobError | None = None) -> Iterator[cursor]:
        """One transaction that ends the claim and takes the job's results.

        Raises StaleClaim, and writes nothing of the job, when a newer attempt owns it, or when it was
        deleted or cancelled meanwhile.
        """
        with self.database.transaction() as tx:
            tx.execute(
                "SELECT worker.finish_claim(%s, %s, %s, %s, %s, %s) AS verdict",
                (
                    self.message_id,
                    self.attempt,
                    outcome,
                    error.code if error else None,
                    error.message if error else None,
                    call_parameters(self.calls),
                ),
            )
            verdict = _only(tx)["verdict"]
            if verdict == "ours":
                yield tx
        self.calls.clear()
        if verdict == "ours":
            settled(outcome, error.code if error else None)
            return
        settled("stale")
        raise StaleClaim if verdict == "stale" else StaleClaim("the job was deleted or cancelled")

    def release(self, error: JobError | None = None, *, fence: bool = False) -> None:
        """Put the job down until its message comes again; an error counts, a hand-back or `PutBack` doesn't.

        With `fence` this attempt is stale from here on, for whoever puts it down in place of its thread.
        """
        counts = not isinstance(error, PutBack)
        rows = self.database.call(
            "SELECT worker.release_claim(%s, %s, %s, %s, %s, %s, %s) AS ours",
            (
                self.message_id,
                self.attempt,
                error.code if error else None,
                error.message if error else None,
                call_parameters(self.calls),
                fence,
                counts,
            ),
        )
        self.calls.clear()
        settled("waiting" if rows[0]["ours"] else "stale", error.code if error and counts else None)
        if not rows[0]["ours"]:
            raise StaleClaim


def open_claim(  # noqa: PLR0913  # a message and its terms, by name
    database: Database,
    message_id: UUID,
    kind: str,
    worker_id: str,
    *,
    hint: UUID | None,
    max_deaths: int,
    hold_seconds: float = 900.0,
    delivery: int | None = None,
) -> tuple[Opened, Claim[dict[str, Any]] | None]:
    """Find or make the claim of a message, in one round trip; the claim's job is still the raw row.

    `hint` is the job that the message was written for; if it is taken, the next one is claimed instead.
    There is no claim where there is nothing to do: no job waits, the job has ended or is gone, or another
    process has the message since `delivery`, the one that is worked on.
    Raises `PutBack` for a job whose call a limit, a pause or a breaker forbids yet, and where the hinted job
    waits but somebody has locked its row; `hold_seconds` is how long its place under a limit is kept should
    this process die.
    """
    row = database.call(
        "SELECT * FROM worker.open_claim(%s, %s, %s, %s, %s, %s, %s)",
        (message_id, kind, hint, worker_id, max_deaths, hold_seconds, delivery),
    )[0]
    opened = Opened(row["outcome"])
    after_seconds = row["wait_ms"] / 1000
    if opened is Opened.WAIT:
        raise PutBack("provider.waiting", "the provider takes no more calls yet", after_seconds=after_seconds)
    if opened is Opened.LOCKED:
        raise PutBack("job.locked", "somebody else is at the job's row", after_seconds=after_seconds)
    if opened not in {Opened.CLAIMED, Opened.RESUMED, Opened.POISON}:
        return opened, None
    claim = Claim(
        database,
        message_id,
        kind,
        row["job_id"],
        row["job"],
        row["attempt"],
        row["errors"],
        row["deaths"],
        row["bound"],
        row["owner"],
    )
    return opened, claim


def hand_back(database: Database, claims: list[Claim[Any]]) -> None:
    """Mark attempts as put down in good order, so that a deploy doesn't count as a death."""
    database.call(
        "SELECT worker.release_claim(c.id, c.attempt) FROM unnest(%s::uuid[], %s) AS c (id, attempt)",
        ([claim.message_id for claim in claims], [claim.attempt for claim in claims]),
    )


def find_lost(database: Database, claims: list[Claim[Any]]) -> set[UUID]:
    """The messages of those claims that a newer attempt owns, or that were ended by somebody else."""
    rows = database.call(
        """
        SELECT held.id FROM unnest(%s::uuid[], %s) AS held (id, attempt)
        WHERE NOT EXISTS (SELECT FROM worker.claims c WHERE c.message_id = held.id
                          AND c.attempt = held.attempt AND c.state <> 'finished')
        """,
        ([claim.message_id for claim in claims], [claim.attempt for claim in claims]),
    )
    return {row["id"] for row in rows}


def _only(tx: cursor) -> dict[str, Any]:
    row = tx.fetchone()
    assert row is not None
    return dict(row)
