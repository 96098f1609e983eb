"""Nodes that have an agent do something: a team run is started once and waited for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.database import Database
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.teams import make_agent
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from app.workflow import InvalidWorkflow
from tests.integration.conftest import running_worker
from tests.integration.media_world import providers_of_media  # noqa: F401  # a fixture
from tests.integration.node_runs import Ran, execute_once, start
from tests.integration.workflow_rows import BOTH_PLATFORMS, rows, run_row, update
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("provider")

ENDED = ("completed", "failed", "cancelled", "timed_out")


def delegating(connection: Connection, agent: UUID, **config: Any) -> Ran:
    node = NodeSeed(
        {"nodeType": "agent_execute", "agentId": str(agent), "taskPrompt": "Fly a kite.", **config}
    )
    return start(connection, {"it": node})


def team_runs(connection: Connection) -> list[dict[str, Any]]:
    return rows(connection, "SELECT * FROM agents.team_runs")


def go_on(database: Database, ran: Ran) -> Ran:
    message = call(ran.connection, "SELECT message_id FROM worker.claims WHERE job = %s", ran.run_id)
    return execute_once(database, ran, message=message)


@BOTH_PLATFORMS
def test_an_agent_does_a_task_and_the_node_gives_what_came_of_it(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    agent = make_agent(connection, "Nia", model="gpt-4o")
    with running_worker(broker, "actors.workflow_runs", "actors.team_runs"):
        ran = delegating(connection, agent)
        eventually(lambda: run_row(connection, ran.run_id)["status"] in ENDED, what="the run's end")
    (started,) = team_runs(connection)
    output = ran.output("it")
    assert (output["teamRunId"], output["status"]) == (str(started["id"]), "completed")
    assert started["ai_lenser_id"] == agent
    assert started["metadata"]["inputs"]["task"] == "Fly a kite."
    assert "gpt-4o says" in output["output"]
    assert len(provider.calls) == 1


def test_a_run_that_goes_on_does_not_delegate_twice(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = delegating(connection, make_agent(connection, "Nia"))

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patched, pytest.raises(Died):
        patched.setattr("app.nodes.ai.agents._waiting_for", die)
        execute_once(database, ran)
    go_on(database, ran)
    (started,) = team_runs(connection)
    assert ran.node("it")["waiting_reason"] == "external_callback"
    update(
        connection, "agents.team_runs", started["id"], status="completed", metadata={"result": {"text": "ok"}}
    )
    assert go_on(database, ran).output("it")["output"] == "ok"
    assert len(team_runs(connection)) == 1


@pytest.mark.parametrize(("status", "told"), [("failed", "no wind"), ("cancelled", "no reason is known")])
def test_what_an_agent_fails_at_fails_the_node(
    database: Database, connection: Connection, status: str, told: str
) -> None:
    ran = execute_once(database, delegating(connection, make_agent(connection, "Nia")))
    metadata = {"error": "no wind"} if status == "failed" else {}
    update(connection, "agents.team_runs", team_runs(connection)[0]["id"], status=status, metadata=metadata)
    assert go_on(database, ran).error("it") == f"team_run_{status}: {told}"


@BOTH_PLATFORMS
@pytest.mark.parametrize("status", ["cancelled", "failed", "timed_out"])
def test_a_run_that_ends_cancels_what_it_has_delegated(
    database: Database, connection: Connection, status: str
) -> None:
    ran = execute_once(database, delegating(connection, make_agent(connection, "Nia")))
    (started,) = team_runs(connection)
    kites = make_workflow(connection, {"fly": NodeSeed({"nodeType": "manual_trigger"})})
    flying = enqueue_workflow_run(connection, kites.workflow_id)
    update(connection, "agents.team_runs", started["id"], workflow_run_id=flying)
    update(connection, "lenses.workflow_runs", ran.run_id, status=status)
    (ended,) = team_runs(connection)
    assert ended["status"] == "cancelled"
    assert ended["metadata"]["error"] == "the workflow run that waited for it has ended"
    assert run_row(connection, flying)["status"] == "cancelled"


def test_an_agent_that_is_at_it_is_stopped_when_the_run_is_cancelled(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    with running_worker(broker, "actors.workflow_runs", "actors.team_runs"):
        ran = delegating(connection, make_agent(connection, "Nia", model="gpt-4o"))
        eventually(lambda: provider.in_flight, what="the agent's call")
        update(connection, "lenses.workflow_runs", ran.run_id, status="cancelled")
        provider.release()
        open_claims = "SELECT count(*) FROM worker.claims WHERE state <> 'finished'"
        eventually(lambda: call(connection, open_claims) == 0, what="the end of all work")
    assert [run["status"] for run in team_runs(connection)] == ["cancelled"]


def test_what_could_not_be_cancelled_at_once_is_cancelled_by_the_sweep(
    database: Database, connection: Connection
) -> None:
    ran = execute_once(database, delegating(connection, make_agent(connection, "Nia")))
    (started,) = team_runs(connection)
    with database.transaction() as ending:
        ending.execute("SELECT FROM agents.team_runs WHERE id = %s FOR UPDATE", (started["id"],))
        update(connection, "lenses.workflow_runs", ran.run_id, status="cancelled")
    assert run_row(connection, ran.run_id)["status"] == "cancelled"
    assert team_runs(connection)[0]["status"] == started["status"]
    call(connection, "SELECT worker.cancel_orphaned_team_runs()")
    assert team_runs(connection)[0]["status"] == "cancelled"


def test_a_run_that_is_asked_for_again_delegates_anew(database: Database, connection: Connection) -> None:
    ran = execute_once(database, delegating(connection, make_agent(connection, "Nia")))
    update(connection, "lenses.workflow_runs", ran.run_id, status="cancelled")
    update(connection, "lenses.workflow_runs", ran.run_id, status="queued", completed_at=None)
    execute_once(database, ran)
    assert sorted(run["status"] for run in team_runs(connection)) == ["cancelled", "queued"]
    assert ran.node("it")["waiting_reason"] == "external_callback"


def test_a_delegation_that_needs_approval_waits_for_it(database: Database, connection: Connection) -> None:
    ran = execute_once(
        database,
        delegating(connection, make_agent(connection, "Nia"), delegation_policy="approval_required"),
    )
    (started,) = team_runs(connection)
    assert (started["status"], started["approval_status"]) == ("blocked", "pending")
    assert ran.node("it")["status"] == "awaiting_dependency"


@pytest.mark.parametrize(
    ("owner", "config", "error"),
    [
        ("ada", {"delegationPolicy": "forbidden"}, "delegation_forbidden"),
        ("grace", {}, "delegation.not_owned"),
    ],
)
def test_what_is_not_allowed_starts_nothing(
    database: Database, connection: Connection, owner: str, config: dict[str, str], error: str
) -> None:
    ran = execute_once(database, delegating(connection, make_agent(connection, "Nia", owner=owner), **config))
    assert error in ran.error("it")
    assert team_runs(connection) == []
    assert rows(connection, "SELECT * FROM worker.node_effects") == []


def test_an_agent_is_named_by_its_id(database: Database, connection: Connection) -> None:
    with pytest.raises(InvalidWorkflow, match="agentId"):
        execute_once(
            database, start(connection, {"it": NodeSeed({"nodeType": "agent_execute", "task": "x"})})
        )
