"""How an attempt at a job ends when it doesn't succeed: tried again, put back, or failed for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import UUID

import dramatiq
import structlog
from psycopg2.extensions import cursor
from pydantic import BaseModel, ValidationError

from app import alerts
from app.backoff import backoff_ms
from app.claims import Claim
from app.errors import GiveUp, JobError, PlatformRefused, RetryLater
from app.settings import settings

log = structlog.get_logger(__name__)

#: What a job ends in that runs into its hard time limit.
DEADLINE = RetryLater("worker.deadline", "the job ran into its hard time limit")

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


@dataclass(frozen=True)
class Kind:
    """A kind of work: how its rows are parsed, done, and marked as failed."""

    name: str
    job: type[BaseModel]
    execute: Execute[Any]
    fail: Fail
    requeue: Requeue[Any] | None
    time_limit_ms: int


def parse_job(kind: Kind, claim: Claim[dict[str, Any]]) -> BaseModel:
    """The claimed row as the kind's model; raises `GiveUp` with the fields that can't be read."""
    try:
        return kind.job.model_validate(claim.job)
    except ValidationError as error:
        fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
        raise GiveUp(
            "job.malformed", f"the row can't be read: {', '.join(fields) or 'wrong shape'}"
        ) from None


def retry_or_fail(kind: Kind, claim: Claim[Any], error: RetryLater, *, fence: bool = False) -> None:
    """Have the job tried again if it has tries left, else fail it.

    Raises `dramatiq.Retry` where the same message shall come again. With `fence` the attempt itself, which
    may still be at work, can write nothing more.
    """
    if kind.requeue is not None:
        _requeue_or_fail(kind, kind.requeue, claim, error)
        return
    errors = claim.errors + 1
    if errors >= settings().job_max_attempts:
        fail_for_good(kind, claim, error)
        return
    claim.release(error, fence=fence)
    delay_ms = backoff_ms(
        errors,
        min_ms=settings().retry_min_backoff_ms,
        max_ms=settings().retry_max_backoff_ms,
        after_seconds=error.after_seconds,
    )
    log.info("will be tried again", code=error.code, reason=error.message, errors=errors, delay_ms=delay_ms)
    raise again(delay_ms) from None


def _requeue_or_fail(kind: Kind, requeue: Requeue[Any], claim: Claim[Any], error: RetryLater) -> None:
    if not requeue.has_tries_left(claim.job):
        fail_for_good(kind, claim, error)
        return
    claim.finish(lambda tx: requeue.put_back(tx, claim.job, error), outcome="requeued", error=error)
    log.info("put back into the queue", code=error.code, reason=error.message)


def fail_for_good(kind: Kind, claim: Claim[Any], error: JobError) -> None:
    """Fail the job for good, in its own row too, unless the platform refuses even that."""
    outcome = "poison" if error.code == "worker.poison" else "failed"
    try:
        claim.finish(lambda tx: kind.fail(tx, claim.job_id, error), outcome=outcome, error=error)
    except PlatformRefused as refused:
        error = _with_refusal(error, refused)
        claim.finish(outcome=outcome, error=error, alone=True)
    log.error("failed for good", code=error.code, reason=error.message)
    alerts.job_failed(kind.name, claim.job_id, claim.attempt, error)


def _with_refusal(error: JobError, refused: PlatformRefused) -> JobError:
    """The error of a job whose row stays as it is."""
    told = f"the job's row can't be marked as failed either ({refused.message})"
    if isinstance(error, PlatformRefused):
        return PlatformRefused(error.sqlstate, f"{error.reason}; {told}")
    return GiveUp(error.code, f"{error.message}; {told}")


def again(delay_ms: float) -> dramatiq.Retry:
    """What makes Dramatiq send the same message again; the claim waits for it.

    It is raised `from None`: Dramatiq keeps the traceback in the message, and a cause could tell too much.
    """
    return dramatiq.Retry(delay=round(delay_ms))
