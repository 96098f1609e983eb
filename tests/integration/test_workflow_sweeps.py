"""The sweeps around workflows, in a real worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.platform import Seeded
from app.local.teams import enqueue_team_run, make_agent
from app.local.workflows import enqueue_workflow_run, make_schedule, make_workflow
from tests.integration.conftest import import_afresh, running_worker
from tests.integration.workflow_rows import age, rows, run_row, team_row
from tests.sql import call
from tests.waiting import eventually

SWEEPS = [
    "dispatch_scheduled_workflows",
    "dispatch_automation",
    "recover_runs",
    "tend_waiting_runs",
    "prune_workflow_runs",
]


def run_sweeps(broker: LeaseBroker, connection: Connection) -> None:
    (module,) = import_afresh("schedules.workflows")
    rows(connection, "DELETE FROM worker.ticks")
    for name in SWEEPS:
        getattr(module, name).send()
    with running_worker(broker):
        eventually(
            lambda: call(connection, "SELECT count(*) FROM dramatiq.queue WHERE queue_name = 'sweeps'") == 0,
            what="the end of all sweeps",
        )


@pytest.fixture
def enabled(configure: Callable[..., None]) -> None:
    workers = ("SCHEDULED_WORKFLOW_WORKER", "TEAM_RUN_WORKER")
    configure(**{f"PLATFORM_API_{name}_ENABLED": "true" for name in workers})


@pytest.fixture
def lost(connection: Connection, seeded: Seeded) -> dict[str, Any]:
    """A schedule that is due, a run that lost its worker, and a team run like it."""
    workflow_id = make_workflow(connection).workflow_id
    runs = []
    for mode in ("api", "subflow"):
        run = enqueue_workflow_run(
            connection, workflow_id, status="running", trigger_mode=mode, run_worker_id="worker-7"
        )
        age(connection, run)
        runs.append(run)
    agent = make_agent(connection, "Nia")
    team_run = enqueue_team_run(connection, agent, status="running", workflow_run_id=runs[1])
    return {"schedule": make_schedule(connection, workflow_id), "run": runs[0], "team_run": team_run}


def test_due_schedules_run_and_lost_runs_are_given_to_others(
    enabled: None, broker: LeaseBroker, connection: Connection, lost: dict[str, Any]
) -> None:
    run_sweeps(broker, connection)
    made = call(
        connection, "SELECT count(*) FROM lenses.workflow_runs WHERE schedule_id = %s", lost["schedule"]
    )
    assert made == 1
    assert run_row(connection, lost["run"])["status"] == "recovered"
    assert team_row(connection, lost["team_run"])["status"] == "queued"


def test_without_its_toggle_nothing_is_touched(
    broker: LeaseBroker, connection: Connection, lost: dict[str, Any]
) -> None:
    run_sweeps(broker, connection)
    assert call(connection, "SELECT count(*) FROM lenses.workflow_runs") == 2
    assert run_row(connection, lost["run"])["status"] == "running"
    assert team_row(connection, lost["team_run"])["status"] == "running"


@pytest.mark.environment(PLATFORM_API_WORKFLOW_RECOVERY_ENABLED="false")
def test_recovery_alone_can_be_turned_off(
    enabled: None,
    broker: LeaseBroker,
    connection: Connection,
    lost: dict[str, Any],
) -> None:
    run_sweeps(broker, connection)
    assert run_row(connection, lost["run"])["status"] == "running"
    assert call(connection, "SELECT count(*) FROM lenses.workflow_runs WHERE schedule_id IS NOT NULL") == 1


def test_what_is_kept_of_runs_long_ended_is_deleted(
    enabled: None, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    workflow_id = make_workflow(connection).workflow_id
    ended, running = (
        enqueue_workflow_run(connection, workflow_id, status=status, trigger_mode="manual")
        for status in ("completed", "running")
    )
    for run in (ended, running):
        rows(
            connection, "INSERT INTO worker.run_channels (run_id, touched_at) VALUES (%s, '2020-01-01')", run
        )
        rows(
            connection,
            "INSERT INTO worker.run_graphs (run_id, graph, taken_at) VALUES (%s, '{}', '2020-01-01')",
            run,
        )
    run_sweeps(broker, connection)
    assert call(connection, "SELECT count(*) FROM worker.run_channels") == 0
    assert call(connection, "SELECT run_id FROM worker.run_graphs") == running
