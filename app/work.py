"""The `@work` decorator: everything about doing a job that is not the job.

It claims the job that a message stands for, runs the decorated function on the claim, and turns whatever
the function ends in into what happens next: done, tried again later, failed for good, or put back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

import dramatiq
import structlog
from dramatiq.middleware import CurrentMessage, Middleware, Shutdown, TimeLimitExceeded
from psycopg2.extensions import cursor
from pydantic import BaseModel, ValidationError

from app import alerts, limits
from app.backoff import backoff_ms
from app.calls import collect_calls
from app.claims import Claim, Opened, hand_back, open_claim
from app.database import CONNECTION_ERRORS, database
from app.errors import DatabaseError, GiveUp, JobError, PutBack, RetryLater, StaleClaim
from app.identity import worker_id
from app.settings import settings
from app.telemetry import JobRecord, job_span

log = structlog.get_logger(__name__)

Job = TypeVar("Job", bound=BaseModel)
Job_contra = TypeVar("Job_contra", bound=BaseModel, contravariant=True)
Execute = Callable[[Claim[Job]], None]
Fail = Callable[[cursor, UUID, JobError], None]


class Requeue(Protocol[Job_contra]):
    """How a kind of work has a job tried again whose own row counts the tries and times the next one."""

    def has_tries_left(self, job: Job_contra) -> bool:
        """Whether the job may be tried again after one more error."""

    def put_back(self, tx: cursor, job: Job_contra, error: RetryLater) -> None:
        """Put the row back into the platform's queue, in the transaction that ends the claim."""


#: A job whose database went away is tried again after this; its message waits in the table meanwhile.
DATABASE_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Kind:
    """A kind of work: how its rows are parsed, done, and marked as failed."""

    name: str
    job: type[BaseModel]
    execute: Execute[Any]
    fail: Fail
    requeue: Requeue[Any] | None
    time_limit_ms: int


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
        )
    except PutBack as wait:
        log.debug("not yet", kind=kind.name, code=wait.code, after_seconds=wait.after_seconds)
        raise _again(wait.after_seconds * 1000) from None
    if claim is None:
        log.debug("nothing to do", kind=kind.name, found=opened.value)
        return
    with (
        open_claims.track(claim),
        collect_calls(claim.calls),
        limits.passage_of(claim),
        structlog.contextvars.bound_contextvars(kind=kind.name, job=str(claim.job_id), attempt=claim.attempt),
        job_span(_record(message, claim)),
    ):
        try:
            _attempt(kind, opened, claim)
        except StaleClaim as error:
            log.warning("result dropped", reason=error.message)
        except (*CONNECTION_ERRORS, DatabaseError) as error:
            log.warning("database went away during the job", error=str(error).strip())
            claim.release()
            raise _again(DATABASE_PAUSE_SECONDS * 1000) from None


def _record(message: dramatiq.Message[Any], claim: Claim[Any]) -> JobRecord:
    waited_seconds = max(time.time() - message.message_timestamp / 1000, 0.0) if claim.attempt == 1 else None
    return JobRecord(
        claim.kind, message.queue_name, message.message_id, str(claim.job_id), claim.attempt, waited_seconds
    )


def _attempt(kind: Kind, opened: Opened, claim: Claim[Any]) -> None:
    """Do the job once and settle what it ended in."""
    try:
        if opened is Opened.POISON:
            raise GiveUp("worker.poison", f"{claim.deaths} workers died while they did this job")
        claim = replace(claim, job=cast(Any, _parse(kind, claim)))
        kind.execute(claim)
    except PutBack as error:
        claim.release()
        log.info("put back", code=error.code, after_seconds=error.after_seconds)
        raise _again(error.after_seconds * 1000) from None
    except Shutdown:
        claim.release()
        raise _again(0) from None
    except GiveUp as error:
        _fail(kind, claim, error)
    except RetryLater as error:
        _retry_or_fail(kind, claim, error)
    except TimeLimitExceeded:
        _retry_or_fail(kind, claim, RetryLater("worker.deadline", "the job ran into its hard time limit"))
    except (StaleClaim, *CONNECTION_ERRORS, DatabaseError):
        raise
    except Exception as error:
        log.exception("job ended in an unexpected error")
        alerts.unexpected(error)
        unexpected = RetryLater("worker.internal_error", f"unexpected {type(error).__name__}")
        _retry_or_fail(kind, claim, unexpected)


def _parse(kind: Kind, claim: Claim[dict[str, Any]]) -> BaseModel:
    try:
        return kind.job.model_validate(claim.job)
    except ValidationError as error:
        fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
        raise GiveUp(
            "job.malformed", f"the row can't be read: {', '.join(fields) or 'wrong shape'}"
        ) from None


def _retry_or_fail(kind: Kind, claim: Claim[Any], error: RetryLater) -> None:
    if kind.requeue is not None:
        _requeue_or_fail(kind, kind.requeue, claim, error)
        return
    errors = claim.errors + 1
    if errors >= settings().job_max_attempts:
        _fail(kind, claim, error)
        return
    claim.release(error)
    delay_ms = backoff_ms(
        errors,
        min_ms=settings().retry_min_backoff_ms,
        max_ms=settings().retry_max_backoff_ms,
        after_seconds=error.after_seconds,
    )
    log.info("will be tried again", code=error.code, reason=error.message, errors=errors, delay_ms=delay_ms)
    raise _again(delay_ms) from None


def _requeue_or_fail(kind: Kind, requeue: Requeue[Any], claim: Claim[Any], error: RetryLater) -> None:
    if not requeue.has_tries_left(claim.job):
        _fail(kind, claim, error)
        return
    with claim.finish("requeued", error) as tx:
        requeue.put_back(tx, claim.job, error)
    log.info("put back into the queue", code=error.code, reason=error.message)


def _fail(kind: Kind, claim: Claim[Any], error: JobError) -> None:
    outcome = "poison" if error.code == "worker.poison" else "failed"
    with claim.finish(outcome, error) as tx:
        kind.fail(tx, claim.job_id, error)
    log.error("failed for good", code=error.code, reason=error.message)
    alerts.job_failed(kind.name, claim.job_id, claim.attempt, error)


def _again(delay_ms: float) -> dramatiq.Retry:
    """What makes Dramatiq send the same message again; the claim waits for it.

    It is raised `from None`: Dramatiq keeps the traceback in the message, and a cause could tell too much.
    """
    return dramatiq.Retry(delay=round(delay_ms))


class OpenClaims(Middleware):
    """Knows the claims this process works on, and hands back those that a shutdown cuts off."""

    def __init__(self) -> None:
        #: By the thread that works on it.
        self._claims: dict[int, Claim[Any]] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._claims)

    @contextmanager
    def track(self, claim: Claim[Any]) -> Iterator[None]:
        """Count the claim as open during the block."""
        with self._guard:
            self._claims[threading.get_ident()] = claim
        try:
            yield
        finally:
            with self._guard:
                del self._claims[threading.get_ident()]

    def held(self) -> dict[int, Claim[Any]]:
        """The open claims, by the thread that works on each."""
        with self._guard:
            return dict(self._claims)

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        """Hand back what the time given was too short for; runs before the broker gives messages back."""
        cut_off = list(self.held().values())
        if cut_off:
            hand_back(database(), cut_off)
            log.info("handed back unfinished jobs", jobs=len(cut_off))


#: The process's open claims; one of the broker's middlewares.
open_claims = OpenClaims()
