"""Every move of a battle job's row, and who may make it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.claims import Claim, Opened, open_claim
from app.database import Database
from app.errors import GiveUp, RetryLater, StaleClaim
from app.local.platform import Seeded
from app.platform.battle_moves import nudge_battles
from app.platform.battles import BattleJob, BattleRetries, bury_job, complete_job, submit_text
from app.providers import Answer
from tests.integration.battle_rows import dead_letters, jobs_of, queue_battle, status_of
from tests.sql import call

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])

RECLAIM = "SELECT worker.fn_reclaim_battle_jobs(10)"
AGE = "UPDATE battles.battle_execution_jobs SET claimed_at = now() - interval '11 minutes'"
TICKETS = (
    "SELECT count(*) FROM dramatiq.queue q JOIN battles.battle_execution_jobs j"
    " ON j.id::text = q.message -> 'kwargs' ->> 'job' WHERE q.state = 'queued' AND j.id = %s"
)
ANSWER = Answer("The sea!", 3, 2, "stop", "openai", "gpt-4o", None, 5, {})


def claim_job(database: Database, hint: UUID | None = None) -> Claim[BattleJob]:
    _, claim = open_claim(database, uuid4(), "battle_job", "host:1", hint=hint, max_deaths=3)
    assert claim is not None
    return Claim(**{**vars(claim), "job": BattleJob.model_validate(claim.job)})


def finish(claim: Claim[BattleJob]) -> None:
    claim.finish(lambda tx: (submit_text(tx, claim.job, ANSWER), complete_job(tx, claim.job)))


def job_of(connection: Connection, job: UUID) -> dict[str, Any]:
    row: dict[str, Any] = call(
        connection, "SELECT to_jsonb(j) FROM battles.battle_execution_jobs j WHERE id = %s", job
    )
    return row


@pytest.fixture
def battle(connection: Connection, seeded: Seeded) -> UUID:
    return queue_battle(connection)


@pytest.fixture
def job(connection: Connection, battle: UUID) -> UUID:
    """The job in slot A."""
    found: UUID = jobs_of(connection, battle)[0]["id"]
    return found


@BOTH_PLATFORMS
def test_a_ticket_claims_the_job_it_was_written_for_or_else_the_next(
    jobs_database: Database, connection: Connection, battle: UUID
) -> None:
    a, b = (job["id"] for job in jobs_of(connection, battle))
    assert claim_job(jobs_database, hint=b).job.job_id == b
    assert claim_job(jobs_database, hint=b).job.job_id == a
    for job in jobs_of(connection, battle):
        assert (job["status"], job["worker_id"]) == ("claimed", "host:1")
    assert open_claim(jobs_database, uuid4(), "battle_job", "w", hint=a, max_deaths=3)[0] is Opened.NOTHING


@BOTH_PLATFORMS
def test_a_claimed_job_completes_with_its_submission(
    jobs_database: Database, connection: Connection, battle: UUID, job: UUID
) -> None:
    finish(claim_job(jobs_database, hint=job))
    row = jobs_of(connection, battle)[0]
    assert (row["status"], row["submission"], row["content_text"]) == ("completed", "submitted", "The sea!")
    assert row["completed_at"]
    assert row["submitted_at"]
    assert status_of(connection, battle) == "executing"


@BOTH_PLATFORMS
def test_a_job_put_back_has_a_ticket_for_when_it_is_due(
    jobs_database: Database, connection: Connection, job: UUID
) -> None:
    claim = claim_job(jobs_database, hint=job)
    error = RetryLater("provider.rate_limited", "not now", after_seconds=60)
    tickets = call(connection, TICKETS, job)
    claim.finish(lambda tx: BattleRetries().put_back(tx, claim.job, error), outcome="requeued", error=error)
    row = job_of(connection, job)
    assert (row["status"], row["retry_count"], row["worker_id"]) == ("queued", 1, None)
    assert row["error_message"] == "provider.rate_limited: not now"
    assert call(connection, TICKETS, job) == tickets + 1
    due = "SELECT max(mtime) = max(claimed_at) FROM dramatiq.queue q, battles.battle_execution_jobs"
    assert call(connection, due) is True
    # Its time has not come, whatever names it.
    assert claim_job(jobs_database, hint=job).job.job_id != job


def test_a_requeue_that_is_rolled_back_leaves_job_claim_and_tickets_as_they_were(
    jobs_database: Database, connection: Connection, job: UUID
) -> None:
    claim = claim_job(jobs_database, hint=job)
    error = RetryLater("provider.timeout", "slow")
    tickets = call(connection, TICKETS, job)
    with pytest.raises(ZeroDivisionError):
        claim.finish(
            lambda tx: (BattleRetries().put_back(tx, claim.job, error), 1 / 0),
            outcome="requeued",
            error=error,
        )
    assert job_of(connection, job)["status"] == "claimed"
    assert call(connection, TICKETS, job) == tickets
    assert call(connection, "SELECT state FROM worker.claims") == "running"


@BOTH_PLATFORMS
def test_a_job_given_up_and_retried_by_an_operator_has_one_more_try(
    jobs_database: Database, connection: Connection, battle: UUID, job: UUID
) -> None:
    claim = claim_job(jobs_database, hint=job)
    error = GiveUp("key.revoked", "no")
    claim.finish(lambda tx: bury_job(tx, claim.job_id, error), outcome="failed", error=error)
    assert dead_letters(connection, battle) == {"A": "key.revoked"}
    assert (job_of(connection, job)["status"], job_of(connection, job)["retry_count"]) == ("failed", 0)
    tickets = call(connection, TICKETS, job)
    letter = call(connection, "SELECT id FROM battles.battle_execution_dead_letters")
    connection.cursor().execute("SELECT fn_retry_dead_letter_battle_job(%s)", (letter,))
    assert call(connection, TICKETS, job) == tickets + 1
    again = claim_job(jobs_database, hint=job)
    assert again.job.retry_count == 1


@BOTH_PLATFORMS
def test_a_stale_job_of_another_worker_goes_back_and_in_the_end_is_given_up(
    connection: Connection, battle: UUID, job: UUID
) -> None:
    row = connection.cursor()
    for retries in range(2):
        row.execute(f"{AGE}, status = 'claimed', worker_id = 'someone else' WHERE id = %s", (job,))
        assert call(connection, RECLAIM) == 1
        assert job_of(connection, job)["status"] == "queued"
        assert job_of(connection, job)["retry_count"] == retries + 1
        assert call(connection, TICKETS, job) >= 1
    row.execute(f"{AGE}, status = 'claimed' WHERE id = %s", (job,))
    assert call(connection, RECLAIM) == 1
    assert dead_letters(connection, battle) == {"A": "stale_claim.max_retries_exceeded"}
    assert call(connection, "SELECT attempt_count FROM battles.battle_execution_dead_letters") == 3


@BOTH_PLATFORMS
def test_a_job_with_a_live_claim_is_never_reclaimed(
    jobs_database: Database, connection: Connection, job: UUID
) -> None:
    claim = claim_job(jobs_database, hint=job)
    connection.cursor().execute(AGE)
    connection.cursor().execute("UPDATE battles.battle_execution_jobs SET status = 'claimed'")
    assert call(connection, RECLAIM) == 1  # the other contender's, whom nobody works for
    assert call(connection, "SELECT battles.fn_reclaim_stale_battle_jobs(10)") == 0
    finish(claim)


def test_nothing_is_claimed_while_the_kill_switch_is_on_and_no_ticket_is_added(
    jobs_database: Database, connection: Connection, seeded: Seeded, job: UUID
) -> None:
    row = connection.cursor()
    row.execute(
        "INSERT INTO admin.kill_switches (operator_id, reason, scope) VALUES (%s, 'test', 'system')",
        (seeded.people["grace"],),
    )
    assert open_claim(jobs_database, uuid4(), "battle_job", "w", hint=job, max_deaths=3)[0] is Opened.NOTHING
    row.execute("DELETE FROM dramatiq.queue WHERE queue_name = 'battles'")
    assert call(connection, "SELECT worker.add_missing_tickets('battle_job')") == 0
    row.execute("UPDATE admin.kill_switches SET lifted_at = now()")
    assert call(connection, "SELECT worker.add_missing_tickets('battle_job')") == 2


def test_a_job_that_was_put_back_behind_its_claim_belongs_to_the_next_one(
    jobs_database: Database, connection: Connection, job: UUID
) -> None:
    first = claim_job(jobs_database, hint=job)
    connection.cursor().execute("SELECT fn_requeue_battle_job_with_backoff(%s, 0, 'by an operator')", (job,))
    second = claim_job(jobs_database, hint=job)
    with pytest.raises(StaleClaim):
        finish(first)
    finish(second)
    assert job_of(connection, job)["status"] == "completed"


def test_the_platforms_insert_succeeds_even_if_the_ticket_fails(
    connection: Connection, seeded: Seeded
) -> None:
    connection.cursor().execute("DROP TABLE dramatiq.queue CASCADE")
    battle = queue_battle(connection)
    assert status_of(connection, battle) == "executing"
    connection.cursor().execute("UPDATE battles.battle_execution_jobs SET status = 'claimed'")
    connection.cursor().execute("UPDATE battles.battle_execution_jobs SET status = 'queued'")
    assert {job["status"] for job in jobs_of(connection, battle)} == {"queued"}
    assert sum("lf-worker: no ticket" in notice for notice in connection.notices) == 3


@BOTH_PLATFORMS
def test_of_two_who_finish_at_once_exactly_one_opens_voting(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            battle = queue_battle(connection)
            claims = [claim_job(jobs_database, hint=job["id"]) for job in jobs_of(connection, battle)]
            barrier = threading.Barrier(2)

            def finish_together(claim: Claim[BattleJob], barrier: threading.Barrier = barrier) -> None:
                barrier.wait(10)
                finish(claim)

            list(pool.map(finish_together, claims))
            opened = (
                "SELECT count(*) FROM audit.events"
                " WHERE event_type = 'battle.voting_started_internal' AND entity_id = %s"
            )
            assert status_of(connection, battle) == "voting"
            assert call(connection, opened, battle) == 1


@BOTH_PLATFORMS
def test_a_battle_whose_jobs_have_all_ended_is_nudged_into_voting(
    jobs_database: Database, connection: Connection, battle: UUID, job: UUID
) -> None:
    row = connection.cursor()
    row.execute("UPDATE battles.battle_execution_jobs SET status = 'completed' WHERE id <> %s", (job,))
    assert nudge_battles(jobs_database) == 0
    row.execute("SELECT fn_move_battle_job_to_dlq(%s, 'some.code', 'gave up')", (job,))
    assert status_of(connection, battle) == "executing"
    assert nudge_battles(jobs_database) == 1
    assert status_of(connection, battle) == "voting"
    assert job_of(connection, job)["error_message"] == "gave up"
    assert nudge_battles(jobs_database) == 0


def test_a_battle_whose_jobs_were_cancelled_is_left_to_whoever_did_it(
    jobs_database: Database, connection: Connection, battle: UUID
) -> None:
    connection.cursor().execute("UPDATE battles.battle_execution_jobs SET status = 'failed'")
    assert nudge_battles(jobs_database) == 0
    assert status_of(connection, battle) == "executing"


@BOTH_PLATFORMS
def test_a_dead_letter_is_replayed_once_and_not_for_a_battle_that_is_over(
    jobs_database: Database, connection: Connection, job: UUID
) -> None:
    replay = "SELECT worker.fn_replay_battle_job(%s)"
    assert call(connection, replay, job) is None
    claim = claim_job(jobs_database, hint=job)
    claim.finish(
        lambda tx: bury_job(tx, claim.job_id, GiveUp("key.revoked", "no")),
        outcome="failed",
        error=GiveUp("key.revoked", "no"),
    )
    row = connection.cursor()
    row.execute("UPDATE battles.battles SET archived_at = now()")
    assert call(connection, replay, job) is None
    row.execute("UPDATE battles.battles SET archived_at = NULL")
    assert call(connection, replay, job) is True
    assert job_of(connection, job)["status"] == "queued"
    assert call(connection, replay, job) is None
