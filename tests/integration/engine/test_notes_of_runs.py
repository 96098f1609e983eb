"""What a run says of its workflow: why it was refused, what it passed over, and where a branch skips more."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from tests.integration.engine.runs import (
    INPUTS,
    START,
    answered,
    await_end,
    await_rest,
    by_name,
    ended,
    lens,
    waiting,
)
from tests.integration.node_runs import execute_once, start
from tests.integration.workflow_rows import BOTH_PLATFORMS, rows

TRUE = {"type": "equals", "value": "true"}
FALSE = {"type": "equals", "value": "false"}


def stored(connection: Connection, workflow: SeededWorkflow, run_id: UUID, column: str) -> dict[str, Any]:
    found = rows(connection, "SELECT * FROM lenses.workflow_node_results WHERE run_id = %s", run_id)
    names = {node_id: name for name, node_id in workflow.nodes.items()}
    return {names[row["node_id"]]: row[column] for row in found}


def events(connection: Connection, run_id: UUID, event_type: str) -> list[dict[str, Any]]:
    found = rows(
        connection,
        "SELECT payload FROM lenses.workflow_run_events WHERE run_id = %s AND type = %s ORDER BY event_id",
        run_id,
        event_type,
    )
    return [row["payload"] for row in found]


@BOTH_PLATFORMS
def test_a_refused_workflow_tells_its_reason_at_the_node_by_name(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    nodes = {
        "rocket": NodeSeed({"nodeType": "launch_rocket"}),
        "join": NodeSeed({"nodeType": "merge", "mode": "key_join", "maxItems": "many"}),
        "late": NodeSeed({"nodeType": "noop", "timeoutMs": "soon"}),
        "fine": lens(),
    }
    workflow = make_workflow(connection, nodes, [EdgeSeed("fine", "join")])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    failed = ended(connection, run_id)
    told = stored(connection, workflow, run_id, "error_message")
    assert told["fine"] is None
    assert told["rocket"] == "unknown_node_type: 'rocket' has the unknown type 'launch_rocket'"
    assert str(told["join"]).startswith("invalid_config: 'join' (merge): maxItems: ")
    assert str(told["late"]).startswith("malformed_node: 'late' can't be read (timeoutMs: ")
    statuses = {"rocket": "failed", "join": "failed", "late": "failed", "fine": "skipped"}
    assert by_name(connection, workflow, run_id) == statuses
    assert (failed["status"], provider.calls) == ("failed", [])
    named = {payload["nodeId"]: payload["error"] for payload in events(connection, run_id, "node.failed")}
    assert named[str(workflow.nodes["rocket"])] == told["rocket"]
    for name in ("'rocket'", "'join'", "'late'"):
        assert name in failed["metadata"]["result"]["error"]["message"]


def test_what_a_merge_passes_over_stands_in_the_runs_log(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    nodes = {
        "start": START,
        "join": NodeSeed({"nodeType": "merge", "mode": "zip", "mergeKey": "id", "waitForAll": True}),
    }
    ran = execute_once(jobs_database, start(connection, nodes, [EdgeSeed("start", "join")], {"topic": "sea"}))
    assert ran.output("join")["items"] == [{"topic": "sea"}]
    node_id = str(ran.workflow.nodes["join"])
    told = {"nodeId": node_id, "nodeType": "merge", "level": "warning", "code": "ignored_setting"}
    assert events(connection, ran.run_id, "node.log") == [
        {**told, "message": "'join' (merge): passed over: waitForAll"},
        {**told, "message": "'join' (merge): mode has an unknown value; 'append' is used"},
    ]


def test_a_join_that_a_branch_skips_is_named_once_in_the_runs_log(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    nodes = {
        "fork": NodeSeed({"nodeType": "if_condition", "inputPath": "topic", "operator": "is_not_empty"}),
        "way": NodeSeed({"nodeType": "noop"}),
        "pause": waiting("human_input"),
        "join": NodeSeed({"nodeType": "merge"}),
    }
    edges = [
        EdgeSeed("fork", "join", "a", "branch", TRUE),
        EdgeSeed("fork", "way", "b", "branch", FALSE),
        EdgeSeed("way", "join", "c"),
    ]
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"topic": "sea"})
    await_rest(connection)
    assert by_name(connection, workflow, run_id)["join"] == "skipped"
    answered(jobs_database, run_id, workflow.nodes["pause"], "go on")
    await_end(connection, run_id)
    (told,) = events(connection, run_id, "node.log")
    assert told == {
        "nodeId": str(workflow.nodes["join"]),
        "nodeType": "merge",
        "level": "warning",
        "code": "skipped_with_branch",
        "message": "'join' joins a branch of 'fork' and a way around it: it is skipped whenever 'way' is,"
        " unless its onParentFailure is substitute_default",
    }


def test_a_branch_on_a_lens_goes_by_what_the_model_said(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    decide = {"nodeType": "if_condition", "inputPath": "output", "operator": "contains"}
    nodes = {
        "ask": lens(),
        "right": NodeSeed({**decide, "value": "gpt-4o says: Greet Ada"}),
        "wrong": NodeSeed({**decide, "value": "something that it did not say"}),
        "text": NodeSeed({"nodeType": "extract_field", "field": "text"}),
        "model": NodeSeed({"nodeType": "data_mapper", "mappings": {"by": "modelId", "said": "data"}}),
    }
    edges = [EdgeSeed("ask", name) for name in nodes if name != "ask"]
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "completed"
    gave = stored(connection, workflow, run_id, "output_data")
    said = "gpt-4o says: Greet Ada in English. Tone: ."
    assert (gave["right"]["branch"], gave["wrong"]["branch"]) == ("true", "false")
    assert gave["text"]["value"] == said
    assert gave["model"]["value"] == {"by": "gpt-4o", "said": said}
