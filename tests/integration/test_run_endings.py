"""Runs that are ended while nobody is at them: their nodes end with them, and their followers are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.claims import Claim, Opened
from app.database import Database
from app.local.platform import Seeded
from app.local.teams import enqueue_team_run, make_team
from app.local.workflows import SeededWorkflow, enqueue_workflow_run, make_workflow
from app.platform.workflows import NodeWrite
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    claim,
    hold_of,
    must_claim,
    node_statuses,
    opened,
    rows,
    tickets,
    update,
)
from tests.sql import call


@pytest.fixture
def workflow(connection: Connection, seeded: Seeded) -> SeededWorkflow:
    return make_workflow(connection)


def told(connection: Connection, run_id: UUID) -> list[str]:
    log = "SELECT type FROM lenses.workflow_run_events WHERE run_id = %s ORDER BY event_id"
    return [row["type"] for row in rows(connection, log, run_id)]


def put_aside(database: Database, connection: Connection, claimed: Claim[dict[str, Any]]) -> None:
    """Leave a claim as a run has it that waits: handed back, its message due in an hour."""
    claimed.release()
    rows(
        connection,
        "UPDATE dramatiq.queue SET message_id = %s, mtime = now() + interval '1 hour'"
        " WHERE message ->> 'actor_name' = 'execute_workflow_run'",
        claimed.message_id,
    )


@BOTH_PLATFORMS
@pytest.mark.parametrize("status", ["cancelled", "failed", "timed_out"])
def test_a_run_that_is_ended_before_it_began_leaves_no_open_node(
    connection: Connection, workflow: SeededWorkflow, status: str
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    update(connection, "lenses.workflow_runs", run_id, status=status)
    expected = "cancelled" if status == "cancelled" else "skipped"
    assert set(node_statuses(connection, run_id).values()) == {expected}
    assert told(connection, run_id) == [f"run.{status}", "run.status.changed"]


@BOTH_PLATFORMS
def test_a_run_that_is_put_down_ends_at_once_when_it_is_cancelled(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    claimed = must_claim(jobs_database)
    done = NodeWrite(node_id=workflow.nodes["start"], status="completed")
    hold_of(claimed).save(jobs_database, [done])
    put_aside(jobs_database, connection, claimed)
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    statuses = node_statuses(connection, run_id)
    assert statuses.pop(workflow.nodes["start"]) == "completed"
    assert set(statuses.values()) == {"cancelled"}
    assert told(connection, run_id) == ["run.cancelled", "run.status.changed"]
    assert call(connection, "SELECT outcome FROM worker.claims") == "gone"
    assert tickets(connection, "execute_workflow_run") == 0
    assert opened(jobs_database, claimed.message_id) is Opened.FINISHED


def test_a_run_that_an_attempt_is_at_is_told_of_once(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    hold = hold_of(must_claim(jobs_database))
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    assert call(connection, "SELECT state FROM worker.claims") == "running"
    assert hold.close_ended(jobs_database)
    assert told(connection, run_id) == ["run.cancelled", "run.status.changed"]


def test_a_run_that_is_cancelled_twice_is_told_of_twice(
    connection: Connection, workflow: SeededWorkflow
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    for _ in range(2):
        started = '{"type": "run.started"}'
        call(connection, "SELECT worker.append_run_events(%s, ARRAY[%s::jsonb])", run_id, started)
        update(connection, "lenses.workflow_runs", run_id, status="cancelled")
        update(connection, "lenses.workflow_runs", run_id, status="queued")
    assert told(connection, run_id).count("run.cancelled") == 2


def test_a_run_that_is_put_down_and_asked_for_again_does_not_wait_for_its_time(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    put_aside(jobs_database, connection, must_claim(jobs_database))
    update(connection, "lenses.workflow_runs", run_id, status="queued")
    again = claim(jobs_database)
    assert again is not None
    assert (again.job_id, again.attempt) == (run_id, 1)


@pytest.mark.parametrize("status", ["pending", "draft"])
def test_a_run_that_a_browser_is_at_is_left_to_it(
    connection: Connection, workflow: SeededWorkflow, status: str
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, trigger_mode="manual", status=status)
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    assert set(node_statuses(connection, run_id).values()) == {"pending"}
    assert told(connection, run_id) == []


def test_the_platforms_own_sweep_keeps_its_word_on_nodes(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    must_claim(jobs_database)
    long_ago = datetime.now(UTC) - timedelta(hours=5)
    update(connection, "lenses.workflow_runs", run_id, heartbeat_at=long_ago, started_at=long_ago)
    assert call(connection, "SELECT public.fn_timeout_stale_runs()") == 1
    errors = rows(connection, "SELECT DISTINCT error_message AS e FROM lenses.workflow_node_results")
    assert [row["e"] for row in errors] == ["run_timed_out_by_sweeper"]
    assert told(connection, run_id) == ["run.timed_out", "run.status.changed"]


def test_a_trigger_that_fails_lets_the_platform_go_on(
    connection: Connection, workflow: SeededWorkflow
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    rows(connection, "ALTER TABLE worker.run_graphs RENAME TO gone")
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    assert call(connection, "SELECT status FROM lenses.workflow_runs WHERE id = %s", run_id) == "cancelled"


@BOTH_PLATFORMS
@pytest.mark.parametrize(("decision", "claims"), [("approved", True), ("rejected", False)])
def test_an_owners_decision_starts_the_team_run_or_ends_its_workflow_run(
    jobs_database: Database,
    connection: Connection,
    seeded: Seeded,
    workflow: SeededWorkflow,
    decision: str,
    claims: bool,
) -> None:
    run_id = enqueue_workflow_run(
        connection, workflow.workflow_id, trigger_mode="subflow", status="pending_approval"
    )
    team_run = enqueue_team_run(
        connection,
        make_team(connection).lead_id,
        workflow_id=workflow.workflow_id,
        workflow_run_id=run_id,
        status="blocked",
        approval_status="pending",
    )
    assert claim(jobs_database, "team_run") is None
    decide(connection, seeded, team_run, decision)
    assert (claim(jobs_database, "team_run") is not None) is claims
    statuses = set(node_statuses(connection, run_id).values())
    assert statuses == ({"pending"} if claims else {"skipped"})
    assert ("run.failed" in told(connection, run_id)) is not claims


def decide(connection: Connection, seeded: Seeded, team_run: UUID, decision: str) -> None:
    """What the owner's click in the web does."""
    who = call(connection, "SELECT user_id FROM lensers.profiles WHERE id = %s", seeded.people["ada"])
    claims = f'{{"sub": "{who}", "role": "authenticated"}}'
    before = call(connection, "SELECT current_setting('request.jwt.claims')")
    call(connection, "SELECT set_config('request.jwt.claims', %s, false)", claims)
    call(connection, "SELECT request_id FROM public.fn_decide_approval(%s, %s)", team_run, decision)
    call(connection, "SELECT set_config('request.jwt.claims', %s, false)", before)
