"""Schedules that are due, the gates that stop them, and rules that act on what happened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.platform import Seeded
from app.local.teams import make_agent, make_team
from app.local.workflows import (
    SeededWorkflow,
    enqueue_workflow_run,
    make_schedule,
    make_workflow,
    run_by_schedule,
)
from app.platform.schedules import dispatch_due_schedules
from tests.integration.schedule_rows import InTransaction, next_minute, runs_of, schedule_row
from tests.integration.workflow_rows import BOTH_PLATFORMS, claim, node_statuses, rows, update
from tests.sql import call, sqlstate_of

OURS = "the worker's own"
PLATFORMS = "SELECT lenses.fn_dispatch_scheduled_workflows()"
SPENT = 100


@pytest.fixture
def workflow(connection: Connection, seeded: Seeded) -> SeededWorkflow:
    return make_workflow(connection)


def dispatch(database: Database, driver: str = OURS) -> int:
    """Have one dispatcher do what is due; gives how many runs it made."""
    if driver == OURS:
        return dispatch_due_schedules(database)["dispatched"]
    return int(database.call(PLATFORMS)[0]["fn_dispatch_scheduled_workflows"])


@pytest.mark.parametrize(
    ("expression", "minute", "holds"),
    [
        ("* * * * *", "2026-03-01 09:00", True),
        ("0 9 * * *", "2026-03-01 09:00", True),
        ("0 9 * * *", "2026-03-01 09:01", False),
        ("*/15 * * * *", "2026-03-01 09:45", True),
        ("*/15 * * * *", "2026-03-01 09:50", False),
        ("1,5-7 * * * *", "2026-03-01 09:06", True),
        ("0 0 * * 7", "2026-03-01 00:00", True),
        ("0 0 * * 0", "2026-03-01 00:00", True),
        ("0 0 13 * 5", "2026-03-06 00:00", False),
        ("99 * * * *", "2026-03-01 09:39", False),
        ("* * * * MON", "2026-03-02 09:00", False),
        ("@daily", "2026-03-01 00:00", False),
        ("* * * * * *", "2026-03-01 00:00", False),
    ],
)
def test_cron_expressions_hold_at_their_minutes(
    connection: Connection, expression: str, minute: str, holds: bool
) -> None:
    at = datetime.fromisoformat(minute).replace(tzinfo=UTC)
    rows(connection, "SET TIME ZONE 'UTC'")
    assert call(connection, "SELECT lenses.fn_cron_matches_now(%s, %s)", expression, at) is holds


@BOTH_PLATFORMS
@pytest.mark.parametrize("drivers", [(OURS, OURS), (PLATFORMS, OURS), (OURS, PLATFORMS)])
def test_two_dispatches_in_one_minute_make_one_run(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, drivers: tuple[str, str]
) -> None:
    schedule = make_schedule(connection, workflow.workflow_id, inputs_template={"name": "Ada"})
    # A clock that moves on between the two would make them two minutes.
    with connection:
        assert [dispatch(InTransaction(connection), driver) for driver in drivers] == [1, 0]
    (run,) = runs_of(connection, schedule)
    assert (run["status"], run["trigger_mode"], run["context_inputs"]) == (
        "pending",
        "schedule",
        {"name": "Ada"},
    )
    assert set(node_statuses(connection, run["id"])) == set(workflow.nodes.values())
    assert schedule_row(connection, schedule)["last_dispatch_status"] == "dispatched"
    assert claim(jobs_database) is not None


def test_a_frozen_queue_and_the_kill_switch_stop_all_schedules(
    jobs_database: Database, connection: Connection, seeded: Seeded, workflow: SeededWorkflow
) -> None:
    make_schedule(connection, workflow.workflow_id)
    rows(connection, "UPDATE admin.execution_control SET queue_frozen = true")
    assert dispatch(jobs_database) == 0
    rows(connection, "UPDATE admin.execution_control SET queue_frozen = false")
    rows(
        connection,
        "INSERT INTO admin.kill_switches (scope, operator_id, reason) VALUES ('system', %s, 'test')",
        seeded.people["ada"],
    )
    assert dispatch(jobs_database) == 0


def gated(connection: Connection, workflow: SeededWorkflow, gate: str, agent: UUID) -> UUID:
    """A schedule with an agent that this gate stops."""
    columns: dict[str, Any] = {"assignee_id": agent}
    if gate == "skipped_calendar":
        columns["calendar_id"] = call(
            connection,
            "INSERT INTO lenses.schedule_calendars (lenser_id, name, kind, dates, timezone)"
            " SELECT lenser_id, 'never', 'only_dates', '{}', 'Europe/Istanbul' FROM lenses.workflows"
            " RETURNING id",
        )
    if gate == "skipped_condition":
        columns["pre_dispatch_condition"] = {"pointer": "/last_24h_stats/total", "op": "gt", "value": 5}
    if gate == "condition_failed":
        columns["retry_policy"] = {"maxRetries": "many"}
    if gate == "dispatch_failed":
        columns["approval_policy"] = {"requiresApproval": "perhaps"}
    if gate == "budget_exceeded":
        rows(
            connection,
            "INSERT INTO agents.policies (ai_lenser_id, spending_limit_credits) VALUES (%s, %s)",
            agent,
            SPENT,
        )
        rows(
            connection,
            "INSERT INTO agents.quota_snapshots (ai_lenser_id, credits_spent) VALUES (%s, %s)",
            agent,
            SPENT,
        )
    schedule = make_schedule(connection, workflow.workflow_id, **columns)
    if gate == "skipped_overlap":
        enqueue_workflow_run(
            connection, workflow.workflow_id, schedule_id=schedule, status="pending_approval"
        )
    if gate == "skipped_max_attempts":
        for _ in range(2):
            enqueue_workflow_run(connection, workflow.workflow_id, schedule_id=schedule, status="failed")
    return schedule


@BOTH_PLATFORMS
@pytest.mark.parametrize(
    "gate",
    [
        "budget_exceeded",
        "skipped_overlap",
        "skipped_calendar",
        "skipped_condition",
        "condition_failed",
        "skipped_max_attempts",
        "dispatch_failed",
    ],
)
def test_a_gate_stops_its_schedule_and_no_other(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, gate: str
) -> None:
    agent = make_agent(connection, "Nia")
    stopped = gated(connection, workflow, gate, agent)
    open_ = make_schedule(connection, workflow.workflow_id)
    assert dispatch(jobs_database) == 1
    assert schedule_row(connection, open_)["last_dispatch_status"] == "dispatched"
    noted = schedule_row(connection, stopped)
    assert (noted["last_dispatch_status"], noted["last_run_at"]) == (gate, None)
    assert noted["last_error_message"]
    (logged,) = rows(connection, "SELECT * FROM agents.action_logs")
    assert logged["metadata"]["status"] == gate
    told = {"budget_exceeded": "blocked_by_policy", "condition_failed": "failed", "dispatch_failed": "failed"}
    assert (logged["action_type"], logged["result"]) == ("schedule_skipped", told.get(gate, "throttled"))


def test_the_platform_as_it_is_dispatches_nothing_after_one_such_gate(
    connection: Connection, workflow: SeededWorkflow, platform_profile: str
) -> None:
    gated(connection, workflow, "skipped_calendar", make_agent(connection, "Nia"))
    make_schedule(connection, workflow.workflow_id)
    if platform_profile == "faulty":
        assert sqlstate_of(connection, PLATFORMS) == "23514"
    else:
        assert call(connection, PLATFORMS) == 1


@BOTH_PLATFORMS
def test_only_failures_in_a_row_count(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    schedule = make_schedule(connection, workflow.workflow_id, retry_policy={"maxRetries": 1})
    for minute, status in enumerate(["failed", "failed", "completed", "failed"]):
        enqueue_workflow_run(
            connection,
            workflow.workflow_id,
            schedule_id=schedule,
            status=status,
            created_at=f"2026-01-01 00:0{minute}",
        )
    assert dispatch(jobs_database) == 1
    (run,) = [run for run in runs_of(connection, schedule) if run["status"] == "pending"]
    update(connection, "lenses.workflow_runs", run["id"], status="failed")
    next_minute(connection, schedule)
    assert dispatch(jobs_database) == 0
    assert schedule_row(connection, schedule)["last_dispatch_status"] == "skipped_max_attempts"


@BOTH_PLATFORMS
def test_what_waits_for_its_owner_does_not_pile_up(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    schedule = make_schedule(connection, workflow.workflow_id, approval=True)
    assert dispatch(jobs_database) == 1
    next_minute(connection, schedule)
    assert dispatch(jobs_database) == 0
    (run,) = runs_of(connection, schedule)
    assert run["status"] == "pending_approval"
    assert claim(jobs_database) is None
    update(connection, "lenses.workflow_runs", run["id"], status="queued")
    assert claim(jobs_database) is not None


@BOTH_PLATFORMS
@pytest.mark.parametrize("driver", [OURS, PLATFORMS])
@pytest.mark.parametrize("approval", [True, False])
def test_a_schedule_with_an_assignee_is_executed_once_and_after_approval(
    jobs_database: Database,
    connection: Connection,
    seeded: Seeded,
    workflow: SeededWorkflow,
    driver: str,
    approval: bool,
) -> None:
    team = make_team(connection)
    make_schedule(
        connection,
        workflow.workflow_id,
        approval=approval,
        assignee_type="team",
        assignee_id=team.team_id,
        inputs_template={"name": "Ada"},
    )
    assert dispatch(jobs_database, driver) == 1
    assert claim(jobs_database) is None
    if approval:
        assert claim(jobs_database, "team_run") is None
        team_run = call(connection, "SELECT id FROM agents.team_runs")
        with connection:
            call(connection, "SELECT set_config('request.jwt.claim.sub', %s, true)", str(seeded.users["ada"]))
            call(connection, "SELECT public.fn_decide_approval(%s, 'approved')", team_run)
    assert claim(jobs_database) is None
    claimed = claim(jobs_database, "team_run")
    assert claimed is not None
    (run,) = rows(connection, "SELECT * FROM lenses.workflow_runs")
    assert claimed.job["workflow_run_id"] == str(run["id"])
    assert (run["status"], run["context_inputs"], run["ai_lenser_id"]) == (
        "running",
        {"name": "Ada"},
        team.lead_id,
    )
    assert claim(jobs_database) is None


def test_rotating_inputs_come_in_turn(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    schedule = make_schedule(connection, workflow.workflow_id, inputs_rotation=[{"n": 1}, {"n": 2}])
    seen = []
    for _ in range(3):
        assert dispatch(jobs_database) == 1
        (run,) = [run for run in runs_of(connection, schedule) if run["status"] == "pending"]
        seen.append(run["context_inputs"]["n"])
        update(connection, "lenses.workflow_runs", run["id"], status="completed")
        next_minute(connection, schedule)
    assert seen == [1, 2, 1]


def test_an_archived_workflow_is_not_started(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    schedule = make_schedule(connection, workflow.workflow_id)
    update(connection, "lenses.workflows", workflow.workflow_id, archived_at=datetime.now(UTC))
    assert dispatch(jobs_database) == 0
    assert schedule_row(connection, schedule)["last_dispatch_status"] == "dispatch_failed"


def test_a_schedule_of_the_demo_runs_at_once_and_once(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    schedule = run_by_schedule(connection, workflow.workflow_id, inputs={"name": "Ada"})
    (run,) = runs_of(connection, schedule)
    assert (run["status"], run["context_inputs"]) == ("pending", {"name": "Ada"})
    assert dispatch(jobs_database) == 0
