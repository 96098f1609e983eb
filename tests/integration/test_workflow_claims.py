"""Which workflow runs a worker takes, which it leaves alone, and what a claimed one is made ready with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.claims import Opened
from app.database import Database
from app.local.platform import Seeded
from app.local.teams import enqueue_team_run, make_agent
from app.local.workflows import enqueue_workflow_run, make_workflow
from app.platform.workflows import WorkflowRun, fetch_graph, fetch_nodes
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    claim,
    must_claim,
    node_statuses,
    opened,
    rows,
    run_row,
    tickets,
    update,
)
from tests.sql import call

OTHERS = [
    "draft",
    "validated",
    "pending_approval",
    "running",
    "streaming",
    "completed",
    "failed",
    "cancelled",
]


@BOTH_PLATFORMS
def test_a_claimed_run_has_what_its_executor_needs(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"name": "Ada"})
    run = WorkflowRun.model_validate(must_claim(jobs_database).job)
    assert (run.run_id, run.workflow_id) == (run_id, workflow.workflow_id)
    assert run.context_inputs == {"name": "Ada"}
    assert run.owner_lenser_id == seeded.people["ada"]
    assert run.workspace_id == seeded.workspaces["engine-room"]
    stored = run_row(connection, run_id)
    assert stored["status"] == "running"
    assert stored["run_worker_id"].startswith("lf-worker/")
    assert stored["heartbeat_at"] is not None
    assert stored["started_at"] is not None


@pytest.mark.parametrize(
    ("status", "mode", "is_taken"),
    [
        ("pending", "schedule", True),
        ("pending", "api", True),
        ("pending", "manual", False),
        ("pending", "subflow", False),
        ("queued", "manual", True),
        ("queued", "schedule", True),
        *((status, "schedule", False) for status in OTHERS),
        ("timed_out", "api", False),
        ("recovered", "api", False),
    ],
)
def test_what_is_taken_depends_on_status_and_mode(
    jobs_database: Database, connection: Connection, seeded: Seeded, status: str, mode: str, is_taken: bool
) -> None:
    workflow = make_workflow(connection)
    enqueue_workflow_run(
        connection, workflow.workflow_id, status=status, trigger_mode=mode, run_worker_id="somebody"
    )
    assert (claim(jobs_database) is not None) == is_taken
    assert tickets(connection, "execute_workflow_run") == int(is_taken)


@BOTH_PLATFORMS
@pytest.mark.parametrize(
    ("status", "approval", "is_taken"),
    [
        ("blocked", "pending", False),
        ("queued", "not_required", False),
        ("queued", "approved", False),
        ("running", "approved", False),
        ("failed", "rejected", True),
        ("cancelled", "timed_out", True),
    ],
)
def test_the_run_of_an_open_team_run_is_left_to_its_team(
    jobs_database: Database,
    connection: Connection,
    seeded: Seeded,
    status: str,
    approval: str,
    is_taken: bool,
) -> None:
    workflow = make_workflow(connection)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, trigger_mode="schedule")
    agent = make_agent(connection, "Nia")
    enqueue_team_run(connection, agent, status=status, approval_status=approval, workflow_run_id=run_id)
    assert (claim(jobs_database) is not None) == is_taken


def test_nothing_is_taken_while_the_system_is_stopped(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    enqueue_workflow_run(connection, make_workflow(connection).workflow_id)
    call(
        connection,
        "INSERT INTO admin.kill_switches (scope, operator_id, reason) VALUES ('system', %s, 'test')"
        " RETURNING id",
        seeded.people["ada"],
    )
    assert claim(jobs_database) is None
    call(connection, "UPDATE admin.kill_switches SET lifted_at = now() RETURNING id")
    assert claim(jobs_database) is not None


def test_the_run_of_the_ticket_comes_first_then_the_oldest(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    runs = [enqueue_workflow_run(connection, workflow.workflow_id) for _ in range(3)]
    taken = [must_claim(jobs_database, hint=hint).job_id for hint in (runs[1], runs[1], None)]
    assert taken == [runs[1], runs[0], runs[2]]


def test_two_claims_at_once_never_get_the_same_run(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    runs = {enqueue_workflow_run(connection, workflow.workflow_id) for _ in range(8)}
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: claim(jobs_database), range(12)))
    taken = [each.job_id for each in found if each is not None]
    assert len(taken) == len(set(taken))
    assert set(taken) <= runs
    while (more := claim(jobs_database)) is not None:
        taken.append(more.job_id)
    assert sorted(taken) == sorted(runs)


@BOTH_PLATFORMS
def test_every_node_has_a_row_whoever_made_the_run(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    call(
        connection,
        "INSERT INTO lenses.workflow_triggers (workflow_id, owner_id, trigger_type)"
        " VALUES (%s, %s, 'battle_event') RETURNING id",
        workflow.workflow_id,
        seeded.users["ada"],
    )
    event = '{"battle_id": "b", "status": "voting"}'
    dispatch = "SELECT public.fn_workflows_dispatch_on_event('battle_event', %s)"
    assert [call(connection, dispatch, event) for _ in range(2)] == [1, 0]
    run = must_claim(jobs_database)
    assert node_statuses(connection, run.job_id) == dict.fromkeys(workflow.nodes.values(), "pending")


@BOTH_PLATFORMS
def test_the_graph_has_conditions_and_labels_and_stays_as_it_was(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    must_claim(jobs_database)
    call(connection, "DELETE FROM lenses.workflow_edges RETURNING 1")
    graph = fetch_graph(jobs_database, run_id)
    assert graph is not None
    assert [node["label"] for node in graph.nodes] == list(workflow.nodes)
    assert len(graph.edges) == 5
    assert {"type": "equals", "value": "true"} in [edge["condition"] for edge in graph.edges]


def test_a_run_asked_for_again_keeps_only_what_was_completed(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, trigger_mode="manual", status="failed")
    done, failed = workflow.nodes["start"], workflow.nodes["decide"]
    for node, status in ((done, "completed"), (failed, "failed")):
        rows(
            connection,
            "UPDATE lenses.workflow_node_results SET status = %s, error_message = 'x',"
            " output_data = '{\"a\": 1}', completed_at = now() WHERE node_id = %s",
            status,
            node,
        )
    update(connection, "lenses.workflow_runs", run_id, status="queued")
    must_claim(jobs_database)
    stored = {row.node_id: row for row in fetch_nodes(jobs_database, run_id)}
    assert (stored[done].status, stored[done].output_data) == ("completed", {"a": 1})
    assert (stored[failed].status, stored[failed].error_message) == ("pending", None)


def test_a_message_that_comes_again_goes_on_with_its_run_until_that_has_ended(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    run_id = enqueue_workflow_run(connection, make_workflow(connection).workflow_id)
    message = uuid4()
    assert [opened(jobs_database, message) for _ in range(2)] == [Opened.CLAIMED, Opened.RESUMED]
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    assert [opened(jobs_database, message) for _ in range(2)] == [Opened.GONE, Opened.FINISHED]


def test_a_run_that_another_kind_of_worker_took_is_not_gone_on_with(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    run_id = enqueue_workflow_run(connection, make_workflow(connection).workflow_id)
    message = uuid4()
    opened(jobs_database, message)
    update(connection, "lenses.workflow_runs", run_id, status="recovered", run_worker_id="worker-77")
    assert opened(jobs_database, message) is Opened.GONE


def test_lost_tickets_are_found_by_the_sweep(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection)
    for _ in range(3):
        enqueue_workflow_run(connection, workflow.workflow_id)
    rows(connection, "DELETE FROM dramatiq.queue")
    assert call(connection, "SELECT worker.add_missing_tickets('workflow_run')") == 3
    assert call(connection, "SELECT worker.add_missing_tickets('workflow_run')") == 0


def test_a_ticket_that_cannot_be_written_fails_nothing(
    connection: Connection, seeded: Seeded, jobs_database: Database
) -> None:
    rows(connection, "ALTER TABLE dramatiq.queue RENAME TO queue_away")
    workflow = make_workflow(connection)
    run_id: UUID = enqueue_workflow_run(connection, workflow.workflow_id)
    update(connection, "lenses.workflow_runs", run_id, status="queued")
    team_run = enqueue_team_run(connection, make_agent(connection, "Nia"))
    update(connection, "agents.team_runs", team_run, status="cancelled")
    noticed: list[Any] = [notice for notice in connection.notices if "lf-worker: no ticket" in notice]
    assert len(noticed) >= 3
    rows(connection, "ALTER TABLE dramatiq.queue_away RENAME TO queue")
