"""The `@work` decorator: everything about doing a job that is not the job.

It claims the job that a message stands for, runs the decorated function on the claim, and turns whatever
the function ends in into what happens next: done, tried again later, failed for good, or put back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import dramatiq
import structlog
from dramatiq.middleware import CurrentMessage, Shutdown, TimeLimitExceeded

from app import alerts, budgets, limits
from app.broker import Delivery
from app.calls import collect_calls
from app.claims import Claim, Opened, open_claim
from app.database import database
from app.endings import (
    DEADLINE,
    Execute,
    Fail,
    Job,
    Kind,
    Requeue,
    again,
    fail_for_good,
    parse_job,
    retry_or_fail,
)
from app.errors import DatabaseAway, GiveUp, JobError, PlatformRefused, PutBack, RetryLater, StaleClaim
from app.identity import worker_id
from app.open_claims import open_claims
from app.settings import settings
from app.telemetry import JobRecord, job_span

log = structlog.get_logger(__name__)

#: A job whose database went away is tried again after this; its message waits in the table meanwhile.
DATABASE_PAUSE_SECONDS = 1.0

#: What the rows of the kinds call whoever a job is done for.
_OWNERS = ("requester_lenser_id", "owner_lenser_id")

#: An answer that is kept is written at longer and longer intervals, up to this.
LONGEST_PAUSE_SECONDS = 60.0

#: What passes by itself has passed by then; an answer that still can't be written is a matter for people.
KEPT_FOR_SECONDS = 3_600.0


def work(
    kind: str,
    *,
    queue: str,
    job: type[Job],
    fail: Fail,
    time_limit_ms: int,
    requeue: Requeue[Job] | None = None,
) -> Callable[[Execute[Job]], dramatiq.Actor[..., None]]:
    """Make an actor of a function that does one job.

    Parameters:
      kind: the row of worker.kinds that tells how the job is claimed.
      queue: where its tickets wait.
      job: parses the claimed row; a row that doesn't fit fails with `job.malformed`.
      fail: marks the job's own row as failed, in the transaction that ends the claim.
      time_limit_ms: a hard limit above every time limit inside the job.
      requeue: for a kind whose rows count their own tries; the row's return into the queue brings a new
        ticket. Without it the same message comes again, and the claim counts the errors.
    """

    def decorate(execute: Execute[Job]) -> dramatiq.Actor[..., None]:
        described = Kind(kind, job, execute, fail, requeue, time_limit_ms)

        def run(job: str | None = None) -> None:
            _run_ticket(described, job)

        run.__doc__ = execute.__doc__
        return dramatiq.actor(
            run,
            actor_name=execute.__name__,
            queue_name=queue,
            time_limit=time_limit_ms,
            notify_shutdown=False,
        )

    return decorate


def _run_ticket(kind: Kind, hint: str | None) -> None:
    message = CurrentMessage.get_current_message()
    assert message is not None, "a ticket is only worked on by a worker"
    try:
        opened, claim = open_claim(
            database(),
            UUID(message.message_id),
            kind.name,
            worker_id(settings()),
            hint=UUID(hint) if hint else None,
            max_deaths=settings().job_max_deaths,
            hold_seconds=kind.time_limit_ms / 1000,
            delivery=message.number if isinstance(message, Delivery) else None,
        )
    except PutBack as wait:
        log.debug("not yet", kind=kind.name, code=wait.code, after_seconds=wait.after_seconds)
        raise again(wait.after_seconds * 1000) from None
    except DatabaseAway as error:
        log.warning("database went away before the job began", kind=kind.name, error=str(error))
        raise again(DATABASE_PAUSE_SECONDS * 1000) from None
    if claim is None:
        log.debug("nothing to do", kind=kind.name, found=opened.value)
        return
    with (
        open_claims.track(kind, claim),
        collect_calls(claim.calls, _owner(claim.job)),
        limits.passage_of(claim),
        budgets.purse_of(claim, kind.time_limit_ms / 1000),
        structlog.contextvars.bound_contextvars(kind=kind.name, job=str(claim.job_id), attempt=claim.attempt),
        job_span(_record(message, claim)),
    ):
        try:
            _attempt(kind, opened, claim)
        except StaleClaim as error:
            log.warning("result dropped", reason=error.message)
            if claim.handed_back:  # the message goes on to the next attempt, and is not done with
                raise again(0) from None
        except DatabaseAway as error:
            log.warning("database went away during the job", error=str(error))
            if _is_still_ours(claim, error):
                raise again(_pause_seconds(claim) * 1000) from None


def _is_still_ours(claim: Claim[Any], away: DatabaseAway) -> bool:
    """Put down a job whose database went away; False if only the word of its end got lost."""
    try:
        claim.release(PutBack("database.away", str(away)))
    except StaleClaim:
        log.info("the job has ended, or is another attempt's")
        return False
    except DatabaseAway as error:
        log.warning("the claim stays open until the message comes again", error=str(error))
    return True


def _owner(row: dict[str, Any]) -> str | None:
    """Whose job a claimed row is, for what is counted by owner."""
    return next((row[name] for name in _OWNERS if row.get(name)), None)


def _pause_seconds(claim: Claim[Any]) -> float:
    """When to go on with a job whose database went away; the longer an answer was kept, the later."""
    return min(max(DATABASE_PAUSE_SECONDS, claim.hand.kept_seconds / 4), LONGEST_PAUSE_SECONDS)


def _record(message: dramatiq.Message[Any], claim: Claim[Any]) -> JobRecord:
    waited_seconds = max(time.time() - message.message_timestamp / 1000, 0.0) if claim.attempt == 1 else None
    return JobRecord(
        claim.kind, message.queue_name, message.message_id, str(claim.job_id), claim.attempt, waited_seconds
    )


def _attempt(kind: Kind, opened: Opened, claim: Claim[Any]) -> None:
    """Do the job once and settle what it ended in."""
    try:
        _do(kind, opened, claim)
    except PutBack as error:
        claim.release(error)
        log.info("put back", code=error.code, after_seconds=error.after_seconds)
        raise again(error.after_seconds * 1000) from None
    except Shutdown:
        claim.release()
        raise again(0) from None
    except GiveUp as error:
        fail_for_good(kind, claim, error)
    except DatabaseAway as error:
        if not claim.hand or claim.hand.kept_seconds < KEPT_FOR_SECONDS:
            raise
        fail_for_good(kind, claim, PlatformRefused(error.sqlstate or "08000", str(error)))


def _do(kind: Kind, opened: Opened, claim: Claim[Any]) -> None:
    """Do the job once; raises what else than a transient error it ended in."""
    try:
        if opened is Opened.POISON:
            raise GiveUp("worker.poison", f"{claim.deaths} workers died while they did this job")
        claim = replace(claim, job=cast(Any, parse_job(kind, claim)))
        kind.execute(claim)
    except RetryLater as error:
        retry_or_fail(kind, claim, error)
    except TimeLimitExceeded:
        if claim.hand:  # only its end is left to be done
            raise PutBack(DEADLINE.code, DEADLINE.message) from None
        retry_or_fail(kind, claim, DEADLINE)
    except (JobError, DatabaseAway):
        raise
    except Exception as error:
        log.exception("job ended in an unexpected error")
        alerts.unexpected(error)
        unexpected = RetryLater("worker.internal_error", f"unexpected {type(error).__name__}")
        retry_or_fail(kind, claim, unexpected)
