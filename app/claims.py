"""Claims: which message works on which job, so that a job is never lost and never done twice.

A message is a ticket: it says that there is a job of its kind to do, and perhaps which. The first time it
is worked on, that job, or else the next one, is claimed and recorded under the message's id in the same
transaction; when the message comes again, after an error, a deploy or the death of its worker, the record
leads to the same job. Results are written together with the end of the claim, and only by its newest
attempt.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

import psycopg2
from psycopg2.extensions import cursor

from app.answers import Hand, columns_of, hand_of
from app.calls import Call, call_parameters
from app.clock import stop_clock
from app.database import Database
from app.errors import JobError, PlatformRefused, PutBack, StaleClaim
from app.patience import PATIENCE_SECONDS, retry_on_disconnect
from app.refusals import refusal_of
from app.telemetry import settled

Job = TypeVar("Job")

#: What writes a job's results, in a transaction that may be tried more than once.
Write = Callable[[cursor], object]

#: Ends that don't write what was bought, which is therefore kept.
_KEEPING = frozenset({"failed", "poison", "requeued"})

_FINISH = "SELECT worker.finish_claim(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS verdict"
_RELEASE = "SELECT worker.release_claim(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS ours"


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
    written down, `hand` is what was bought and is still to be written. Outages of the database are sat out
    for `patience_seconds` when the claim is ended or put down.
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
    hand: Hand = field(default_factory=Hand, compare=False)
    patience_seconds: float = PATIENCE_SECONDS
    #: Whether the process that stops gave it back, while its thread was still at it.
    handed_back: bool = field(default=False, compare=False)

    def finish(
        self,
        write: Write | None = None,
        *,
        outcome: str = "succeeded",
        error: JobError | None = None,
        alone: bool = False,
    ) -> None:
        """End the claim, and have `write` put the job's results into the same transaction.

        The transaction is tried again on other sessions while the database is away; one whose commit had
        worked all the same counts as done. With `alone` the claim ends although its row is past reach.
        Raises StaleClaim, and writes nothing of the job, when a newer attempt owns it, or when it was
        deleted or cancelled meanwhile; `PlatformRefused` when the database refuses it for good; and
        `DatabaseAway` when that lasts. What was bought stays in hand then.
        """
        stop_clock()
        tries = itertools.count()

        def end() -> str:
            return self._end(write, outcome, error, alone=alone, again=next(tries) > 0)

        try:
            verdict = retry_on_disconnect(end, seconds=self.patience_seconds)
        except psycopg2.Error as refused:
            raise refusal_of(refused, self.hand.kept()) from None
        self.calls.clear()
        if verdict in {"ours", "ended"}:
            self.hand.drop()
            settled(outcome, error.code if error else None)
            return
        settled("stale")
        raise StaleClaim if verdict == "stale" else StaleClaim("the job was deleted or cancelled")

    def _end(
        self, write: Write | None, outcome: str, error: JobError | None, *, alone: bool, again: bool
    ) -> str:
        """One transaction that ends the claim and takes the job's results; gives the verdict."""
        kept = self.hand.kept() if outcome in _KEEPING else None
        with self.database.transaction() as tx:
            tx.execute(
                _FINISH,
                (
                    self.message_id,
                    self.attempt,
                    outcome,
                    error.code if error else None,
                    error.message if error else None,
                    call_parameters([*self.calls, *self.hand.calls]),
                    again,
                    *columns_of(kept),
                    error.sqlstate if isinstance(error, PlatformRefused) else None,
                    alone,
                ),
            )
            verdict = str(_only(tx)["verdict"])
            if verdict == "ours" and write is not None:
                write(tx)
        return verdict

    def release(self, error: JobError | None = None, *, fence: bool = False) -> None:
        """Put the job down until its message comes again; an error counts, a hand-back or `PutBack` doesn't.

        What is in hand is kept for the next attempt, however long that takes. With `fence` this attempt is
        stale from here on, for whoever puts it down in place of its thread.
        """
        stop_clock()
        counts = not isinstance(error, PutBack)
        tries = itertools.count()

        def put_down() -> bool:
            rows = self.database.call(
                _RELEASE,
                (
                    self.message_id,
                    self.attempt,
                    error.code if error else None,
                    error.message if error else None,
                    call_parameters([*self.calls, *self.hand.calls]),
                    fence,
                    counts,
                    next(tries) > 0,
                    *columns_of(self.hand.kept()),
                ),
            )
            return bool(rows[0]["ours"])

        is_patient = self.hand and self.patience_seconds
        ours = retry_on_disconnect(put_down, seconds=math.inf if is_patient else self.patience_seconds)
        self.calls.clear()
        settled("waiting" if ours else "stale", error.code if error and counts else None)
        if not ours:
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
        hand=hand_of(row),
    )
    return opened, claim


def _only(tx: cursor) -> dict[str, Any]:
    row = tx.fetchone()
    assert row is not None
    return dict(row)
