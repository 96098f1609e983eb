"""Jobs whose rows somebody has locked when their tickets come: none waits for the lock, none gives up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.claims import Opened, open_claim
from app.database import Database
from app.errors import PutBack, StaleClaim
from app.local.platform import Seeded, enqueue_lens_run
from app.local.teams import enqueue_team_run, make_agent
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from tests.databases import connect_as_worker
from tests.integration.battle_rows import jobs_of, queue_battle
from tests.integration.conftest import running_worker
from tests.integration.engine.runs import await_end, begin
from tests.integration.workflow_rows import BOTH_PLATFORMS, claim, must_claim, rows, update
from tests.sql import call
from tests.waiting import eventually

MEDIA_TASK = """
    INSERT INTO worker.media_tasks (
        owner_kind, job, provider, model, wire_model, modality, state, due_at, expires_at)
    VALUES ('lens_run', %s, 'openai', 'sora-2', 'sora-2', 'video', 'started', now(), 'infinity')
    RETURNING id
"""
NODE_MEDIUM = "SELECT worker.fn_order_node_medium(run_id, node_id, '{}') FROM lenses.workflow_node_results"


def queue_lens_run(connection: Connection) -> UUID:
    return enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})


def queue_battle_job(connection: Connection) -> UUID:
    job: UUID = jobs_of(connection, queue_battle(connection))[0]["id"]
    rows(connection, "DELETE FROM battles.battle_execution_jobs WHERE slot <> 'A'")
    return job


def queue_media_task(connection: Connection) -> UUID:
    run = queue_lens_run(connection)
    update(connection, "execution.runs", run, status="running")
    return UUID(str(call(connection, MEDIA_TASK, run)))


def queue_node_medium(connection: Connection) -> UUID:
    run = queue_workflow_run(connection)
    rows(connection, "SELECT worker.fn_begin_workflow_run(%s)", run)
    return UUID(str(call(connection, f"{NODE_MEDIUM} WHERE run_id = %s LIMIT 1", run)))


def queue_workflow_run(connection: Connection) -> UUID:
    return enqueue_workflow_run(connection, make_workflow(connection).workflow_id)


def queue_team_run(connection: Connection) -> UUID:
    return enqueue_team_run(connection, make_agent(connection, f"Nia {uuid4()}"))


@dataclass(frozen=True)
class Waiting:
    """A kind, how a job of it is queued, and the table of its rows."""

    kind: str
    queue: Callable[[Connection], UUID]
    table: str


KINDS = [
    Waiting("lens_run", queue_lens_run, "execution.runs"),
    Waiting("battle_job", queue_battle_job, "battles.battle_execution_jobs"),
    Waiting("media_poll", queue_media_task, "worker.media_tasks"),
    Waiting("node_media", queue_node_medium, "worker.node_media"),
    Waiting("workflow_run", queue_workflow_run, "lenses.workflow_runs"),
    Waiting("team_run", queue_team_run, "agents.team_runs"),
]
EVERY_KIND = pytest.mark.parametrize("waiting", KINDS, ids=lambda waiting: waiting.kind)


@contextmanager
def locked(dsn: str, table: str, row_id: UUID) -> Iterator[None]:
    """Somebody else is in a transaction that locked a row, and changes nothing of it."""
    with closing(connect_as_worker(dsn)) as session, session, session.cursor() as tx:
        tx.execute(f"SELECT FROM {table} WHERE id = %s FOR NO KEY UPDATE", (row_id,))
        yield


def is_put_back(database: Database, kind: str, hint: UUID, message: UUID | None = None) -> bool:
    with pytest.raises(PutBack) as raised:
        claim(database, kind, hint=hint, message=message)
    return raised.value.code == "job.locked" and 0 < raised.value.after_seconds < 0.1


def test_a_kind_whose_tickets_name_a_job_tells_whether_it_still_waits(connection: Connection) -> None:
    told = rows(connection, "SELECT kind FROM worker.kinds WHERE is_waiting IS NOT NULL")
    others = rows(connection, "SELECT kind FROM worker.kinds WHERE is_waiting IS NULL")
    assert {row["kind"] for row in told} == {waiting.kind for waiting in KINDS}
    assert {row["kind"] for row in others} == {"webhook_delivery"}  # a ticket stands for a slot of a host


@BOTH_PLATFORMS
@EVERY_KIND
def test_a_ticket_comes_again_for_a_job_that_is_locked_and_takes_no_other(
    jobs_database: Database, connection: Connection, seeded: Seeded, dsn: str, waiting: Waiting
) -> None:
    ours, others = [waiting.queue(connection) for _ in range(2)]
    message = uuid4()
    with locked(dsn, waiting.table, ours):
        assert is_put_back(jobs_database, waiting.kind, ours, message)
        assert call(connection, "SELECT count(*) FROM worker.claims") == 0
        assert must_claim(jobs_database, waiting.kind, hint=others).job_id == others
    claimed = claim(jobs_database, waiting.kind, hint=ours, message=message)
    assert claimed is not None
    assert claimed.job_id == ours


@EVERY_KIND
def test_a_ticket_whose_job_is_taken_has_the_next_one_that_nobody_locked(
    jobs_database: Database, connection: Connection, seeded: Seeded, dsn: str, waiting: Waiting
) -> None:
    taken, held, free = [waiting.queue(connection) for _ in range(3)]
    must_claim(jobs_database, waiting.kind, hint=taken)
    with locked(dsn, waiting.table, held):
        assert must_claim(jobs_database, waiting.kind, hint=taken).job_id == free
        assert claim(jobs_database, waiting.kind, hint=taken) is None


@EVERY_KIND
def test_a_ticket_that_gets_its_job_asks_nothing_more(
    jobs_database: Database, connection: Connection, seeded: Seeded, waiting: Waiting
) -> None:
    job = waiting.queue(connection)
    rows(connection, "UPDATE worker.kinds SET is_waiting = 'SELECT 1 / 0 = 1' WHERE kind = %s", waiting.kind)
    assert must_claim(jobs_database, waiting.kind, hint=job).job_id == job


def test_a_word_too_early_to_a_run_costs_it_no_ticket(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    run_id = queue_workflow_run(connection)
    with jobs_database.transaction() as tx:
        tx.execute("SELECT worker.answer_node(%s, %s, '1') AS answered", (run_id, uuid4()))
        assert tx.fetchone() == {"answered": "not_waiting"}
        assert is_put_back(jobs_database, "workflow_run", run_id)
    assert must_claim(jobs_database, hint=run_id).job_id == run_id


@pytest.mark.parametrize("waiting", KINDS[-2:], ids=lambda waiting: waiting.kind)
def test_a_run_asked_for_again_waits_with_its_ticket_for_the_attempt_that_is_at_it(
    jobs_database: Database, connection: Connection, seeded: Seeded, waiting: Waiting
) -> None:
    run_id = waiting.queue(connection)
    earlier = must_claim(jobs_database, waiting.kind, hint=run_id)
    for status in ("cancelled", "queued"):
        update(connection, waiting.table, run_id, status=status)
    assert is_put_back(jobs_database, waiting.kind, run_id)
    with pytest.raises(StaleClaim):
        earlier.finish(lambda tx: pytest.fail("its results are not wanted any more"))
    assert must_claim(jobs_database, waiting.kind, hint=run_id).job_id == run_id


def test_what_may_not_be_claimed_anyway_is_not_waited_for(
    jobs_database: Database, connection: Connection, seeded: Seeded, dsn: str
) -> None:
    """Whatever lets these be claimed again writes a ticket of its own."""
    run, job = queue_lens_run(connection), queue_battle_job(connection)
    rows(connection, "UPDATE execution.requests SET is_active = false")
    rows(
        connection,
        "UPDATE battles.battle_execution_jobs SET claimed_at = now() + interval '1 day' RETURNING 1",
    )
    with locked(dsn, "execution.runs", run), locked(dsn, "battles.battle_execution_jobs", job):
        for kind, hint in (("lens_run", run), ("battle_job", job)):
            found = open_claim(jobs_database, uuid4(), kind, "tester:1", hint=hint, max_deaths=3)
            assert found == (Opened.NOTHING, None)


def test_a_ticket_looks_again_less_and_less_often(connection: Connection) -> None:
    ticket = call(connection, "SELECT worker.enqueue('execute_workflow_run')")

    def soonest_and_latest_ms(deliveries: int) -> tuple[int, int]:
        rows(connection, "UPDATE dramatiq.queue SET deliveries = %s", deliveries)
        seen = rows(
            connection,
            "SELECT worker.fn_look_again_ms(%s) AS ms FROM generate_series(1, 200) AS n WHERE n > 0",
            ticket,
        )
        return min(row["ms"] for row in seen), max(row["ms"] for row in seen)

    for deliveries, mean_ms in ((1, 50), (2, 100), (5, 800), (9, 5_000), (1_000_000, 5_000)):
        soonest_ms, latest_ms = soonest_and_latest_ms(deliveries)
        assert mean_ms / 2 <= soonest_ms < latest_ms <= mean_ms * 1.5


def test_a_workers_ticket_goes_back_into_the_queue_until_the_row_is_free(
    broker: LeaseBroker, connection: Connection, seeded: Seeded, dsn: str
) -> None:
    came_twice = "SELECT deliveries >= 2 FROM dramatiq.queue WHERE queue_name = 'workflow_runs'"
    rows(connection, "SELECT worker.pause_queue('workflow_runs')")
    _, run_id = begin(connection, NodeSeed({"nodeType": "pass_through"}))
    with running_worker(broker, "actors.workflow_runs"):
        with locked(dsn, "lenses.workflow_runs", run_id):
            rows(connection, "SELECT worker.pause_queue('workflow_runs', false)")
            eventually(lambda: call(connection, came_twice), what="the ticket coming again")
            assert call(connection, "SELECT count(*) FROM worker.claims") == 0
        await_end(connection, run_id)
