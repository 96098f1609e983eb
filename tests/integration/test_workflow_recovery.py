"""Which runs count as lost by their worker, and how often they are tried again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.platform import Seeded
from app.local.teams import enqueue_team_run, make_agent
from app.local.workflows import enqueue_workflow_run, make_workflow
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    age,
    claim,
    must_claim,
    node_statuses,
    rows,
    run_row,
    team_row,
    update,
)
from tests.sql import call, sqlstate_of

ENDED = ["completed", "failed", "cancelled", "timed_out"]


@pytest.fixture
def workflow_id(connection: Connection, seeded: Seeded) -> UUID:
    return make_workflow(connection).workflow_id


def recover(connection: Connection, most: int = 3) -> list[str]:
    found = rows(connection, "SELECT outcome FROM worker.recover_workflow_runs('tester', 90000, %s)", most)
    return [row["outcome"] for row in found]


def settle(connection: Connection, most: int = 3) -> list[str]:
    return [
        row["outcome"] for row in rows(connection, "SELECT * FROM worker.settle_team_runs(90000, %s)", most)
    ]


def stale_run(connection: Connection, workflow_id: UUID, **columns: Any) -> UUID:
    columns = {"status": "running", "run_worker_id": "worker-7", "started_at": "2026-01-01", **columns}
    run_id = enqueue_workflow_run(connection, workflow_id, **columns)
    age(connection, run_id)
    return run_id


@BOTH_PLATFORMS
@pytest.mark.parametrize(
    ("status", "is_taken"),
    [
        ("running", True),
        ("streaming", True),
        ("recovered", True),
        *((status, False) for status in ["draft", "validated", "pending", "pending_approval", *ENDED]),
    ],
)
def test_only_runs_under_way_are_recovered(
    connection: Connection, workflow_id: UUID, status: str, is_taken: bool
) -> None:
    run_id = stale_run(connection, workflow_id, status=status)
    assert recover(connection) == (["recovered"] if is_taken else [])
    assert (run_row(connection, run_id)["status"] == "recovered") == is_taken


@BOTH_PLATFORMS
def test_a_persons_run_in_a_browser_is_never_taken(connection: Connection, workflow_id: UUID) -> None:
    run_id = enqueue_workflow_run(
        connection, workflow_id, status="running", trigger_mode="manual", started_at="2026-01-01"
    )
    assert recover(connection) == []
    taken = rows(connection, "SELECT * FROM fn_claim_stale_workflow_run('tester', 1, 10)")
    assert taken == []
    assert run_row(connection, run_id)["status"] == "running"


def test_the_platform_as_it_is_takes_it(
    connection: Connection, workflow_id: UUID, platform_profile: str
) -> None:
    enqueue_workflow_run(connection, workflow_id, status="running", trigger_mode="manual")
    taken = rows(connection, "SELECT * FROM public.fn_claim_stale_workflow_run('tester', 60000, 10)")
    assert len(taken) == (1 if platform_profile == "faulty" else 0)


@pytest.mark.parametrize(("mode", "is_taken"), [("schedule", True), ("manual", False)])
def test_without_any_heartbeat_a_run_is_stale_by_its_start_unless_a_person_drives_it(
    connection: Connection, workflow_id: UUID, mode: str, is_taken: bool
) -> None:
    enqueue_workflow_run(
        connection, workflow_id, status="running", trigger_mode=mode, started_at="2026-01-01"
    )
    assert bool(recover(connection)) == is_taken


def test_a_fresh_heartbeat_and_an_open_claim_protect_a_run(
    jobs_database: Database, connection: Connection, workflow_id: UUID
) -> None:
    fresh = enqueue_workflow_run(connection, workflow_id)
    must_claim(jobs_database)
    assert recover(connection) == []
    age(connection, fresh)
    assert recover(connection) == []


def test_a_recovered_run_waits_for_a_worker_and_keeps_what_was_completed(
    jobs_database: Database, connection: Connection, workflow_id: UUID
) -> None:
    run_id = stale_run(connection, workflow_id)
    rows(
        connection,
        "UPDATE lenses.workflow_node_results SET status = 'completed' WHERE node_id IN"
        " (SELECT id FROM lenses.workflow_nodes WHERE ordinal < 3)",
    )
    recover(connection)
    assert recover(connection) == []
    assert must_claim(jobs_database).job_id == run_id
    assert list(node_statuses(connection, run_id).values()).count("completed") == 3
    assert call(connection, "SELECT type FROM lenses.workflow_run_events") == "run.recovered"


@BOTH_PLATFORMS
def test_a_run_that_kills_its_workers_fails_with_a_reason_until_it_is_asked_for_again(
    jobs_database: Database, connection: Connection, workflow_id: UUID
) -> None:
    run_id = stale_run(connection, workflow_id)
    outcomes = []
    for _ in range(4):
        update(connection, "lenses.workflow_runs", run_id, run_worker_id="worker-7")
        age(connection, run_id)
        outcomes += recover(connection)
    assert outcomes == ["recovered", "recovered", "recovered", "poison"]
    assert run_row(connection, run_id)["status"] == "failed"
    (letter,) = rows(connection, "SELECT * FROM lenses.workflow_run_dead_letters")
    assert letter["error_code"] == "worker.poison"
    assert set(node_statuses(connection, run_id).values()) == {"skipped"}
    update(connection, "lenses.workflow_runs", run_id, status="queued")
    assert must_claim(jobs_database).job_id == run_id
    assert "recoveries" not in run_row(connection, run_id)["metadata"]


@BOTH_PLATFORMS
def test_an_empty_worker_id_is_refused(connection: Connection, workflow_id: UUID) -> None:
    assert sqlstate_of(connection, "SELECT worker.fn_claim_stale_workflow_run(' ')") == "22023"


def test_runs_that_wait_are_kept_from_looking_dead(
    jobs_database: Database, connection: Connection, workflow_id: UUID
) -> None:
    run_id = enqueue_workflow_run(connection, workflow_id)
    must_claim(jobs_database).release()
    age(connection, run_id)
    assert call(connection, "SELECT worker.touch_waiting_workflow_runs()") == 1
    assert call(connection, "SELECT worker.touch_waiting_workflow_runs()") == 0


def test_approvals_do_not_wait_for_ever(connection: Connection, workflow_id: UUID) -> None:
    old, new = (
        enqueue_workflow_run(connection, workflow_id, status="pending_approval", created_at=created)
        for created in ("2026-01-01", "2999-01-01")
    )
    assert call(connection, "SELECT worker.expire_pending_approvals()") == 1
    assert [run_row(connection, run)["status"] for run in (old, new)] == ["timed_out", "pending_approval"]


@pytest.mark.parametrize(
    ("run_status", "outcome"),
    [("completed", "completed"), ("failed", "failed"), ("cancelled", "cancelled"), ("timed_out", "failed")],
)
def test_a_team_run_nobody_is_at_ends_as_its_workflow_run_did(
    connection: Connection, workflow_id: UUID, run_status: str, outcome: str
) -> None:
    run_id = enqueue_workflow_run(
        connection, workflow_id, status=run_status, started_at="2026-01-01", completed_at="2026-01-02"
    )
    team_run = enqueue_team_run(
        connection, make_agent(connection, "Nia"), status="running", workflow_run_id=run_id
    )
    assert settle(connection) == [outcome]
    assert team_row(connection, team_run)["status"] == outcome
    assert settle(connection) == []


def test_a_team_run_whose_worker_died_is_queued_again_a_few_times(
    connection: Connection, workflow_id: UUID
) -> None:
    run_id = stale_run(connection, workflow_id, trigger_mode="subflow")
    team_run = enqueue_team_run(
        connection, make_agent(connection, "Nia"), status="running", workflow_run_id=run_id
    )
    assert recover(connection) == []
    outcomes = []
    for _ in range(3):
        update(connection, "agents.team_runs", team_run, status="running")
        outcomes += settle(connection, most=2)
    assert outcomes == ["queued", "queued", "failed"]
    assert run_row(connection, run_id)["status"] == "failed"
    assert "died" in team_row(connection, team_run)["metadata"]["error"]


def test_a_team_run_of_a_browser_is_left_alone(connection: Connection, workflow_id: UUID) -> None:
    run_id = enqueue_workflow_run(connection, workflow_id, trigger_mode="manual", status="running")
    enqueue_team_run(connection, make_agent(connection, "Nia"), status="running", workflow_run_id=run_id)
    assert settle(connection) == []


def test_a_team_run_that_was_queued_again_takes_up_its_old_run(
    jobs_database: Database, connection: Connection, workflow_id: UUID
) -> None:
    run_id = stale_run(connection, workflow_id, trigger_mode="subflow")
    agent = make_agent(connection, "Nia")
    enqueue_team_run(connection, agent, status="running", workflow_run_id=run_id, workflow_id=workflow_id)
    settle(connection)
    assert claim(jobs_database) is None
    assert must_claim(jobs_database, "team_run").job["workflow_run_id"] == str(run_id)
