"""A workflow run from its row to its end, in a real worker, with a provider on a real wire."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.errors import StaleClaim
from app.local.provider_server import ProviderServer
from app.local.workflows import EdgeSeed, NodeSeed, enqueue_workflow_run, make_workflow
from tests.integration.engine.runs import INPUTS, Executing, by_name, chain, do, ended, lens, node, told
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    claim,
    must_claim,
    rows,
    run_row,
    update,
)
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("provider")


@BOTH_PLATFORMS
def test_a_branching_run_goes_one_way_and_tells_of_it_in_order(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    workflow = make_workflow(connection)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "completed"
    assert by_name(connection, workflow, run_id) == {
        "start": "completed",
        "decide": "completed",
        "greet": "completed",
        "summarise": "skipped",
        "join": "completed",
    }
    calls = rows(connection, "SELECT kind, job, error_code FROM worker.provider_calls")
    assert calls == [{"kind": "workflow_run", "job": run_id, "error_code": None}] * len(provider.calls)
    assert told(connection, run_id, workflow) == [
        "run.started",
        "node.started start",
        "node.completed start",
        "node.started decide",
        "node.completed decide",
        "node.skipped summarise",
        "node.started greet",
        "node.completed greet",
        "node.started join",
        "node.completed join",
        "run.completed",
        "run.status.changed",
    ]
    assert [said.prompt for said in provider.calls] == ["Greet Ada in English. Tone: ."]
    greeting = node(connection, workflow.nodes["greet"])
    assert greeting["output_data"]["output"] == "gpt-4o says: Greet Ada in English. Tone: ."
    assert greeting["provider_route"] == {"providerId": "openai", "modelKey": "gpt-4o"}
    assert greeting["resolved_input_snapshot"]["name"] == "Ada"
    assert greeting["input_tokens"] > 0
    assert greeting["duration_ms"] is not None
    assert call(connection, "SELECT outcome FROM worker.claims") == "succeeded"
    followers = "SELECT count(*) FROM realtime.messages WHERE topic = %s"
    assert call(connection, followers, f"workflow-run-{run_id}") > 0


@BOTH_PLATFORMS
def test_a_graph_that_can_not_be_run_fails_before_the_start_with_all_its_problems(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    nodes = {"rocket": NodeSeed({"nodeType": "launch_rocket"}), "lost": NodeSeed({}), "fine": lens()}
    workflow = make_workflow(connection, nodes, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    failed = ended(connection, run_id)
    error = failed["metadata"]["result"]["error"]
    assert (failed["status"], error["code"]) == ("failed", "workflow.invalid")
    assert "'rocket' has the unknown type 'launch_rocket'" in error["message"]
    assert "'lost' has neither a type nor a lens" in error["message"]
    assert by_name(connection, workflow, run_id) == {"rocket": "failed", "lost": "failed", "fine": "skipped"}
    assert provider.calls == []


def test_a_failed_node_fails_the_run_and_skips_what_comes_after(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("gpt-4o", ["400"])
    nodes, edges = chain(3)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    failed = ended(connection, run_id)
    assert failed["status"] == "failed"
    assert "'n0' ended as failed: provider." in failed["metadata"]["result"]["error"]["message"]
    assert list(by_name(connection, workflow, run_id).values()) == ["failed", "skipped", "skipped"]
    types = told(connection, run_id, workflow)
    assert types[:3] == ["run.started", "node.started n0", "node.failed n0"]
    assert set(types[3:5]) == {"node.skipped n1", "node.skipped n2"}
    assert types[5:] == ["run.failed", "run.status.changed"]
    assert call(connection, "SELECT error_code FROM worker.claims") == "workflow.node_failed"


def test_what_is_completed_is_not_asked_for_again(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    nodes, edges = chain(3)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    first = must_claim(database)
    provider.script("gpt-4o", ["ok", "hang"])
    left_behind = Executing(database, first)
    provider.wait_for_calls(2)
    second = claim(database, message=first.message_id)
    assert second is not None
    ending = do(database, second)
    assert ending is not None
    assert ending.counts == {"completed": 3}
    assert len(provider.calls) == 4
    assert "run.recovered" in told(connection, run_id, workflow)
    left_behind.join()
    assert isinstance(left_behind.error, StaleClaim)


def test_a_run_that_is_asked_for_again_keeps_what_is_completed(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("gpt-4o", ["ok", "400"])
    nodes, edges = chain(3)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "failed"
    update(connection, "lenses.workflow_runs", run_id, status="queued")
    eventually(lambda: run_row(connection, run_id)["status"] == "completed", what="the second try's end")
    assert set(by_name(connection, workflow, run_id).values()) == {"completed"}
    assert len(provider.calls) == 4


def test_an_empty_graph_is_completed(worker: None, connection: Connection) -> None:
    run_id = enqueue_workflow_run(connection, make_workflow(connection, {}, []).workflow_id)
    assert ended(connection, run_id)["status"] == "completed"


def test_one_pass_over_triggers_and_merges(worker: None, connection: Connection) -> None:
    nodes = {
        "form": NodeSeed({"nodeType": "form_input_trigger", "fields": [{"key": "name", "required": True}]}),
        "event": NodeSeed({"nodeType": "event_trigger", "eventType": "battle_event"}),
        "route": NodeSeed(
            {
                "nodeType": "switch",
                "cases": [{"label": "ada", "operator": "equals", "value": "Ada", "inputPath": "name"}],
            }
        ),
        "on": NodeSeed({"nodeType": "pass_through"}),
        "all": NodeSeed({"nodeType": "merge", "mode": "combine"}),
    }
    edges = [
        EdgeSeed("form", "route"),
        EdgeSeed("form", "on"),
        EdgeSeed("event", "all", "a"),
        EdgeSeed("on", "all", "b"),
    ]
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "completed"
    assert node(connection, workflow.nodes["form"])["output_data"]["formData"] == {"name": "Ada"}
    assert node(connection, workflow.nodes["route"])["output_data"]["matchedBranch"] == "ada"
    merged = node(connection, workflow.nodes["all"])["output_data"]["merged"]
    assert (merged["eventType"], merged["formData"]) == ("battle_event", {"name": "Ada"})
