"""The life of a claim, told by the rows it leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.claims import Claim, Opened, open_claim
from app.database import Database
from app.errors import RetryLater, StaleClaim
from app.handover import hand_back
from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs
from tests.sql import call


def queue_run(connection: Connection) -> UUID:
    return enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})


def open_for(
    database: Database, message_id: UUID, *, hint: UUID | None = None, max_deaths: int = 3
) -> tuple[Opened, Claim[dict[str, Any]] | None]:
    return open_claim(database, message_id, "lens_run", "host:1", hint=hint, max_deaths=max_deaths)


def opened(database: Database, message_id: UUID) -> Claim[dict[str, Any]]:
    _, claim = open_for(database, message_id)
    assert claim is not None
    return claim


@pytest.fixture
def run_id(connection: Connection, seeded: Seeded) -> UUID:
    return queue_run(connection)


def test_a_new_message_claims_the_next_job(
    jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    found, claim = open_for(jobs_database, uuid4())
    assert found is Opened.CLAIMED
    assert claim is not None
    assert (claim.job_id, claim.attempt, claim.errors, claim.deaths) == (run_id, 1, 0, 0)
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run_id) == "running"


def test_who_was_silent_takes_no_job_up_whose_message_another_process_has_by_now(
    jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    hand_out = (
        "UPDATE dramatiq.queue SET state = 'consumed', deliveries = deliveries + 1 RETURNING message_id"
    )
    message = call(connection, hand_out)

    def open_at(delivery: int, worker: str) -> Opened:
        terms = {"hint": run_id, "max_deaths": 3, "delivery": delivery}
        return open_claim(jobs_database, message, "lens_run", worker, **terms)[0]

    assert call(connection, "UPDATE dramatiq.queue SET state = 'queued' RETURNING deliveries") == 1
    assert open_at(1, "silent:1") is Opened.TAKEN
    call(connection, hand_out)
    assert open_at(1, "silent:1") is Opened.TAKEN
    assert open_at(2, "host:1") is Opened.CLAIMED
    assert open_at(1, "silent:1") is Opened.TAKEN
    assert (
        call(connection, "SELECT worker_id || ' ' || attempt || ' ' || deaths FROM worker.claims")
        == "host:1 1 0"
    )
    assert open_at(2, "host:1") is Opened.RESUMED


def test_a_message_prefers_the_job_it_was_written_for(
    jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    younger = queue_run(connection)
    _, claim = open_for(jobs_database, uuid4(), hint=younger)
    assert claim is not None
    assert claim.job_id == younger


def test_a_message_whose_job_was_taken_claims_another(
    jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    other = queue_run(connection)
    open_for(jobs_database, uuid4(), hint=run_id)
    _, claim = open_for(jobs_database, uuid4(), hint=run_id)
    assert claim is not None
    assert claim.job_id == other


def test_a_message_finds_nothing_when_nothing_waits(jobs_database: Database, seeded: Seeded) -> None:
    assert open_for(jobs_database, uuid4(), hint=uuid4()) == (Opened.NOTHING, None)


def test_a_hint_never_claims_a_run_that_is_switched_off(
    jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    connection.cursor().execute("UPDATE execution.requests SET is_active = false")
    assert open_for(jobs_database, uuid4(), hint=run_id) == (Opened.NOTHING, None)


def test_the_same_message_resumes_its_job_and_a_death_is_counted(
    jobs_database: Database, run_id: UUID
) -> None:
    message_id = uuid4()
    first = opened(jobs_database, message_id)
    found, second = open_for(jobs_database, message_id)
    assert found is Opened.RESUMED
    assert second is not None
    assert (second.job_id, second.attempt, second.deaths) == (run_id, 2, 1)
    assert second.job == first.job


def test_errors_and_hand_backs_are_no_deaths(jobs_database: Database, run_id: UUID) -> None:
    message_id = uuid4()
    opened(jobs_database, message_id).release(RetryLater("provider.timeout", "too slow"))
    second = opened(jobs_database, message_id)
    assert (second.errors, second.deaths) == (1, 0)
    hand_back(jobs_database, [second])
    third = opened(jobs_database, message_id)
    assert (third.attempt, third.errors, third.deaths) == (3, 1, 0)


def test_a_job_that_kills_its_workers_is_poison(jobs_database: Database, run_id: UUID) -> None:
    message_id = uuid4()
    seen = [open_for(jobs_database, message_id, max_deaths=2)[0] for _ in range(3)]
    assert seen == [Opened.CLAIMED, Opened.RESUMED, Opened.POISON]


def test_only_the_newest_attempt_may_finish(
    jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    message_id = uuid4()
    stale, newest = opened(jobs_database, message_id), opened(jobs_database, message_id)
    with pytest.raises(StaleClaim):
        stale.finish(lambda tx: tx.execute("UPDATE execution.runs SET response_text = 'stale'"))
    newest.finish(lambda tx: tx.execute("UPDATE execution.runs SET response_text = 'newest'"))
    with pytest.raises(StaleClaim):
        newest.finish(lambda tx: pytest.fail("a claim is finished once"))
    with pytest.raises(StaleClaim):
        stale.release()
    assert call(connection, "SELECT response_text FROM execution.runs") == "newest"


def test_results_that_can_not_be_written_leave_the_claim_open(
    jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    claim = opened(jobs_database, uuid4())
    with pytest.raises(ZeroDivisionError):
        claim.finish(lambda tx: (tx.execute("UPDATE execution.runs SET response_text = 'half'"), 1 / 0))
    assert call(connection, "SELECT state FROM worker.claims") == "running"
    assert call(connection, "SELECT response_text FROM execution.runs") is None


def test_a_finished_message_has_nothing_to_do(jobs_database: Database, run_id: UUID) -> None:
    message_id = uuid4()
    opened(jobs_database, message_id).finish()
    assert open_for(jobs_database, message_id) == (Opened.FINISHED, None)


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM execution.runs", "UPDATE execution.runs SET status = 'canceled'"],
    ids=["deleted", "cancelled"],
)
def test_a_job_that_went_away_is_left_alone(
    change: str, jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    message_id = uuid4()
    opened(jobs_database, message_id)
    connection.cursor().execute(change)
    assert open_for(jobs_database, message_id) == (Opened.GONE, None)
    assert call(connection, "SELECT outcome FROM worker.claims") == "gone"


def test_a_job_that_was_queued_again_behind_its_claim_is_claimed_anew(
    jobs_database: Database, connection: Connection, run_id: UUID
) -> None:
    overtaken = opened(jobs_database, uuid4())
    connection.cursor().execute("UPDATE execution.runs SET status = 'queued'")
    newest = opened(jobs_database, uuid4())
    assert newest.job_id == run_id
    with pytest.raises(StaleClaim):
        overtaken.finish(lambda tx: pytest.fail("its results are not wanted"))
    newest.finish()


def test_racing_messages_claim_each_job_once(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    queued = set(enqueue_lens_runs(connection, 60, model="gpt-4o", inputs={"prompt": "hi"}))
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: open_for(jobs_database, uuid4())[1], range(80)))
    claimed = [claim.job_id for claim in claims if claim]
    assert len(claimed) == len(set(claimed))
    # Every row is offered to whoever asks when no one else holds it; none is handed out twice.
    assert set(claimed) <= queued
    assert len(claimed) == call(connection, "SELECT count(*) FROM worker.claims")
