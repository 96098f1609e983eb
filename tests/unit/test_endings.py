"""What becomes of a job whose attempt didn't succeed."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID, uuid4

import dramatiq
import pytest
from psycopg2.extensions import cursor
from pydantic import BaseModel
from structlog.testing import capture_logs

from app.claims import Claim, Write
from app.endings import Kind, Requeue, fail_for_good, parse_job, retry_or_fail
from app.errors import GiveUp, JobError, RetryLater
from app.settings import settings

SLOW = RetryLater("provider.timeout", "slow", after_seconds=3.0)
TX = cast(cursor, object())


class Row(BaseModel):
    name: str
    size: int


class RecordedClaim(Claim[Any]):
    """A claim that notes what is asked of the database instead of asking it."""

    def __init__(self, *what: Any, **more: Any) -> None:
        super().__init__(*what, **more)
        self.asked: list[tuple[Any, ...]] = []

    def finish(
        self,
        write: Write | None = None,
        *,
        outcome: str = "succeeded",
        error: JobError | None = None,
        alone: bool = False,
    ) -> None:
        self.asked.append(("finish", outcome, error))
        if write:
            write(TX)

    def release(self, error: JobError | None = None, *, fence: bool = False) -> None:
        self.asked.append(("release", error, fence))


def claim(*, errors: int = 0, job: object = None) -> RecordedClaim:
    return RecordedClaim(cast(Any, None), uuid4(), "row", uuid4(), job, attempt=2, errors=errors, deaths=0)


class Queue(Requeue[Any]):
    def __init__(self, *, has_tries: bool) -> None:
        self.has_tries = has_tries
        self.put: list[tuple[object, ...]] = []

    def has_tries_left(self, job: Any) -> bool:
        return self.has_tries and job == "the job"

    def put_back(self, tx: cursor, job: Any, error: RetryLater) -> None:
        self.put.append((tx, job, error))


def kind(failed: list[tuple[object, ...]], requeue: Queue | None = None) -> Kind:
    def fail(tx: cursor, job_id: UUID, error: JobError) -> None:
        failed.append((tx, job_id, error))

    return Kind("row", Row, lambda _claim: None, fail, requeue, time_limit_ms=1_000)


@pytest.fixture(autouse=True)
def alerts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The failures that people are told of; and jitter at its longest."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost/none")
    monkeypatch.setenv("WORKER_JOB_MAX_ATTEMPTS", "3")
    monkeypatch.setenv("WORKER_RETRY_MIN_BACKOFF_MS", "100")
    monkeypatch.setenv("WORKER_RETRY_MAX_BACKOFF_MS", "150")
    settings.cache_clear()
    monkeypatch.setattr("app.backoff.random.uniform", lambda _low, high: high)
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr("app.endings.alerts.job_failed", lambda *what: told.append(what))
    return told


@pytest.mark.parametrize(("errors", "delay_ms"), [(0, 1_600), (1, 1_650)])
def test_a_transient_error_releases_the_claim_and_has_the_message_come_again(
    errors: int, delay_ms: int
) -> None:
    ours, failed = claim(errors=errors), []
    with capture_logs() as logs, pytest.raises(dramatiq.Retry) as again:
        retry_or_fail(kind(failed), ours, SLOW)
    assert again.value.delay == delay_ms
    assert again.value.__suppress_context__
    assert (ours.asked, failed) == ([("release", SLOW, False)], [])
    assert logs == [
        {
            "event": "will be tried again",
            "log_level": "info",
            "code": "provider.timeout",
            "reason": "slow",
            "errors": errors + 1,
            "delay_ms": delay_ms,
        }
    ]


def test_an_attempt_that_may_still_be_at_work_is_fenced() -> None:
    ours = claim()
    with pytest.raises(dramatiq.Retry):
        retry_or_fail(kind([]), ours, SLOW, fence=True)
    assert ours.asked == [("release", SLOW, True)]


def test_one_transient_error_too_many_fails_the_job_and_tells_people(alerts: list[tuple[Any, ...]]) -> None:
    ours, failed = claim(errors=2), []
    with capture_logs() as logs:
        retry_or_fail(kind(failed), ours, SLOW)
    assert ours.asked == [("finish", "failed", SLOW)]
    assert failed == [(TX, ours.job_id, SLOW)]
    assert alerts == [("row", ours.job_id, 2, SLOW)]
    assert logs == [
        {
            "event": "failed for good",
            "log_level": "error",
            "code": "provider.timeout",
            "reason": "slow",
        }
    ]


def test_poison_is_told_from_other_failures() -> None:
    ours, poison = claim(), GiveUp("worker.poison", "3 workers died")
    fail_for_good(kind([]), ours, poison)
    assert ours.asked == [("finish", "poison", poison)]


def test_a_job_whose_row_counts_its_tries_goes_back_into_its_queue() -> None:
    queue, ours, failed = Queue(has_tries=True), claim(errors=9, job="the job"), []
    with capture_logs() as logs:
        retry_or_fail(kind(failed, queue), ours, SLOW)
    assert ours.asked == [("finish", "requeued", SLOW)]
    assert queue.put == [(TX, "the job", SLOW)]
    assert failed == []
    assert logs == [
        {
            "event": "put back into the queue",
            "log_level": "info",
            "code": "provider.timeout",
            "reason": "slow",
        }
    ]


def test_a_job_whose_row_has_no_tries_left_fails() -> None:
    queue, ours, failed = Queue(has_tries=False), claim(job="the job"), []
    retry_or_fail(kind(failed, queue), ours, SLOW)
    assert ours.asked == [("finish", "failed", SLOW)]
    assert (queue.put, failed) == ([], [(TX, ours.job_id, SLOW)])


def test_a_row_is_parsed_or_its_bad_fields_are_named_without_their_values() -> None:
    assert parse_job(kind([]), claim(job={"name": "a", "size": 1})) == Row(name="a", size=1)
    with pytest.raises(GiveUp) as refused:
        parse_job(kind([]), claim(job={"size": "secret"}))
    assert refused.value.code == "job.malformed"
    assert refused.value.message == "the row can't be read: name, size"
    with pytest.raises(GiveUp, match="the row can't be read: wrong shape"):
        parse_job(kind([]), claim(job=7))
