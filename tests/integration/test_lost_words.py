"""Jobs whose database goes away just when they are begun or have ended: nothing becomes a dead letter."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

import app.work
from app.broker import LeaseBroker
from app.calls import Call, call_parameters
from app.claims import Claim, Opened
from app.database import Database
from app.errors import DatabaseAway
from app.limits import Quota, passage, passages
from app.local.platform import Seeded, enqueue_lens_run
from app.platform.lens_runs import LensRun, fail_run
from app.work import work
from tests.databases import connect_as_worker
from tests.integration.broker_rows import end_sessions, wait_until_empty
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lf-worker jobs'"
    " AND datname = current_database() AND wait_event_type = 'Lock'"
)


def succeed(claim: Claim[LensRun]) -> None:
    claim.finish(
        lambda tx: tx.execute(
            "UPDATE execution.runs SET status = 'succeeded', completed_at = now() WHERE id = %s",
            (claim.job_id,),
        )
    )


def declare(broker: LeaseBroker, *, loses_the_word: bool = False) -> None:
    def execute_lens_run(claim: Claim[LensRun]) -> None:
        succeed(claim)
        if loses_the_word:
            raise DatabaseAway("server closed the connection unexpectedly")

    work("lens_run", queue="lens_runs", job=LensRun, fail=fail_run, time_limit_ms=60_000)(execute_lens_run)


def queue_run(connection: Connection) -> UUID:
    return enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})


def test_a_session_that_is_lost_while_a_job_is_claimed_costs_a_second_and_not_the_ticket(
    broker: LeaseBroker, connection: Connection, dsn: str, seeded: Seeded
) -> None:
    declare(broker)
    with closing(connect_as_worker(dsn)) as blocker, running_worker(broker):
        blocker.autocommit = False
        blocker.cursor().execute("LOCK TABLE worker.claims IN ACCESS EXCLUSIVE MODE")
        run = queue_run(connection)
        eventually(lambda: call(connection, BLOCKED) >= 1, what="a claim that is being opened")
        assert end_sessions(connection, "lf-worker jobs") >= 1
        blocker.rollback()
        wait_until_empty(connection)
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run) == "succeeded"


def test_a_worker_takes_up_no_job_by_a_delivery_that_is_not_the_newest(
    broker: LeaseBroker, connection: Connection, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it was silent between the delivery and the claim, and another process has its message."""
    declare(broker)
    opened = []

    def open_late(*terms: Any, **more: Any) -> Any:
        if not opened:
            call(connection, "UPDATE dramatiq.queue SET deliveries = deliveries + 1 RETURNING true")
        opened.append(real_open_claim(*terms, **more)[0])
        return opened[-1], None

    real_open_claim = app.work.open_claim
    monkeypatch.setattr(app.work, "open_claim", open_late)
    with running_worker(broker):
        queue_run(connection)
        eventually(lambda: opened, what="an attempt to open the claim")
    assert opened[0] is Opened.TAKEN
    assert call(connection, "SELECT count(*) FROM worker.claims") == 0


def test_a_job_that_ended_though_the_word_of_it_was_lost_is_left_alone(
    broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    declare(broker, loses_the_word=True)
    with running_worker(broker):
        queue_run(connection)
        eventually(lambda: call(connection, "SELECT outcome FROM worker.claims"), what="the end of the job")
        wait_until_empty(connection)
    assert call(connection, "SELECT (outcome, attempt) = ('succeeded', 1) FROM worker.claims") is True


def test_a_passage_is_settled_though_the_session_was_lost_during_the_call(
    jobs_database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.cursor().execute(
        "INSERT INTO worker.provider_limits (provider, concurrency) VALUES ('openai', 1)"
    )
    quota, real_call = Quota("openai", "gpt-4o", "platform", "ada"), jobs_database.call

    def call_once_in_vain(statement: str, parameters: object = None) -> list[dict[str, object]]:
        monkeypatch.setattr(jobs_database, "call", real_call)
        raise DatabaseAway("server closed the connection unexpectedly")

    with passage(jobs_database, uuid4(), quota, hold_seconds=60):
        assert call(connection, "SELECT count(*) FROM worker.passages") == 1
        monkeypatch.setattr(jobs_database, "call", call_once_in_vain)
    assert call(connection, "SELECT count(*) FROM worker.passages") == 0


@pytest.mark.environment(WORKER_PROVIDER_LIMITS='{"openai": {"concurrency": 1}}')
def test_no_passage_outlives_its_message_though_the_word_that_its_call_is_over_was_lost(
    broker: LeaseBroker, connection: Connection, seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its worker died before it could tell, or the server in the instant after it had."""
    declare(broker)
    monkeypatch.setattr(passages, "_settle", lambda *_: None)
    with running_worker(broker):
        runs = [queue_run(connection) for _ in range(3)]
        wait_until_empty(connection)
    assert call(connection, "SELECT count(*) FROM worker.claims WHERE outcome = 'succeeded'") == len(runs)
    assert call(connection, "SELECT count(*) FROM worker.passages") == 0
    assert call(connection, "SELECT sum(under_way) FROM worker.buckets") == 0


def test_what_a_call_brought_settles_its_passage_once_more_and_no_newer_one(
    jobs_database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.cursor().execute(
        "INSERT INTO worker.provider_limits (provider, concurrency) VALUES ('openai', 1)"
    )
    monkeypatch.setattr(passages, "_settle", lambda *_: None)
    made, ticket = Call("openai", "gpt-4o", "answer", duration_ms=30_000), uuid4()
    quota, note = Quota("openai", "gpt-4o", "platform", "ada"), "SELECT worker.note_calls(%s, %s)::text"
    with passage(jobs_database, ticket, quota, hold_seconds=60):
        passages.count_call(made)
        made.ended = time.monotonic()
    with passage(jobs_database, ticket, quota, hold_seconds=60):
        call(connection, note, uuid4(), call_parameters([made]))
        assert call(connection, "SELECT sum(under_way) FROM worker.buckets") == 1
    call(connection, "UPDATE worker.passages SET taken_at = taken_at - interval '1 minute' RETURNING true")
    with jobs_database.transaction() as tx:
        tx.execute(note, (uuid4(), call_parameters([made])))
        tx.execute("SELECT current_setting('synchronous_commit') AS durable")
        assert tx.fetchone() == {"durable": "on"}
    assert call(connection, "SELECT sum(under_way) FROM worker.buckets") == 0
    assert call(connection, "SELECT count(*) FROM worker.passages") == 0


def test_the_passage_of_a_job_that_has_ended_is_pruned(connection: Connection) -> None:
    ended, open_ = uuid4(), uuid4()
    for ticket, finished in ((ended, "now() - interval '2 minutes'"), (open_, "NULL")):
        connection.cursor().execute(
            f"""
            INSERT INTO worker.claims (message_id, kind, job, worker_id, state, finished_at, outcome)
            SELECT %(ticket)s, 'lens_run', gen_random_uuid(), 'w',
                   CASE WHEN t IS NULL THEN 'running' ELSE 'finished' END, t,
                   CASE WHEN t IS NULL THEN NULL ELSE 'succeeded' END
            FROM (SELECT ({finished})::timestamptz AS t) AS ended;
            INSERT INTO worker.passages (ticket, provider, model, key, tokens, expires_at)
            VALUES (%(ticket)s, 'openai', '*', 'platform', 0, now() + interval '1 hour')
            """,
            {"ticket": ticket},
        )
    call(connection, "SELECT worker.prune_limits()")
    assert call(connection, "SELECT array_agg(ticket) FROM worker.passages") == [open_]
