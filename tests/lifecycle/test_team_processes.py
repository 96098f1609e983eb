"""What happens to team runs when the process that is at them dies or is deployed."""

from __future__ import annotations

import random
import time
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.teams import MemberSeed, enqueue_team_run, make_team
from app.local.workflows import EdgeSeed, NodeSeed, make_workflow
from tests.lifecycle.processes import Fleet
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

ENVIRONMENT = {
    "PLATFORM_API_TEAM_RUN_WORKER_ENABLED": "true",
    "ANTHROPIC_API_KEY": "sk-ant-local",
    "WORKER_WORKFLOW_HEARTBEAT_MS": "200",
    "WORKER_JOB_MAX_DEATHS": "100",
    "WORKER_BROKER_LEASE_SECONDS": "1.5",
}
KILLS, LANES = 2, 2
WORKERS = [MemberSeed(name, lane=number % 2) for number, name in enumerate(["Ann", "Bea", "Cleo", "Dan"])]
MEMBERS = [MemberSeed("Lena", "leader"), *WORKERS, MemberSeed("Rosa", "reviewer")]


def status_of(session: Connection, team_run: UUID) -> str:
    return str(call(session, "SELECT status FROM agents.team_runs WHERE id = %s", team_run))


@pytest.mark.parametrize("has_workflow", [False, True], ids=["shared task", "workflow"])
def test_a_killed_teams_finished_turns_are_not_taken_again(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded, has_workflow: bool
) -> None:
    dice = random.Random()
    provider.latency_seconds = 0.15
    team = make_team(connection, MEMBERS)
    nodes = {f"n{number}": NodeSeed({}, lens="greeting") for number in range(4)}
    edges = [EdgeSeed(f"n{number}", f"n{number + 1}", "name") for number in range(3)]
    workflow = make_workflow(connection, nodes, edges) if has_workflow else None
    turns = 8 if has_workflow else 1 + 4 + 1 + 1
    team_run = enqueue_team_run(
        connection,
        team.lead_id,
        team_id=team.team_id,
        workflow_id=workflow.workflow_id if workflow else None,
        inputs={"task": "Praise the sea.", "name": "Ada", "language": "English"},
    )
    for _ in range(KILLS):
        doomed = workers.start(**ENVIRONMENT)
        provider.wait_for_calls(len(provider.calls) + dice.randint(1, 2), timeout=30)
        time.sleep(dice.uniform(0, 2 * provider.latency_seconds))
        doomed.kill()
    assert status_of(connection, team_run) == "running"
    workers.start(**ENVIRONMENT)
    eventually(lambda: status_of(connection, team_run) == "completed", what="the end")
    finished = "SELECT count(*) FROM agents.agent_run_steps WHERE status = 'completed'"
    assert call(connection, finished) == turns
    assert call(connection, "SELECT count(*) FROM agents.team_messages") == turns
    ends = "SELECT count(*) FROM agents.agent_run_events WHERE event_type = %s"
    assert call(connection, ends, "run_completed") == 1
    assert turns <= len(provider.calls) <= turns + KILLS * LANES


def test_a_deploy_lets_a_turn_finish_and_the_next_process_goes_on(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    team = make_team(connection)
    provider.hold()
    worker = workers.start(**ENVIRONMENT)
    team_run = enqueue_team_run(
        connection, team.lead_id, team_id=team.team_id, inputs={"task": "Praise the sea."}
    )
    provider.wait_for_calls(1)
    worker.terminate()
    taking = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'lf-worker taker' AND datname = current_database()"
    )
    eventually(lambda: call(connection, taking) == 0, what="the end of taking")
    provider.release()
    assert worker.wait() == 0
    assert call(connection, "SELECT state FROM worker.claims") == "handed_back"
    workers.start(**ENVIRONMENT)
    eventually(lambda: status_of(connection, team_run) == "completed", what="the end")
    assert len(provider.calls) == 3
    assert call(connection, "SELECT deaths + errors FROM worker.claims") == 0
