"""Workflows that run other workflows, and the rows of those."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, make_workflow
from tests.integration.workflow_rows import rows, update
from tests.sql import call


def doubling(connection: Connection, **more: Any) -> SeededWorkflow:
    """A workflow that gives its input `item` again, and fails for those that are `bad`."""
    nodes = {
        "start": NodeSeed({"nodeType": "manual_trigger"}),
        "check": NodeSeed({"nodeType": "if_condition", "condition": "item == 'bad'"}),
        "fail": NodeSeed({"nodeType": "stop_return", "status": "failed", "message": "a bad item"}),
        "answer": NodeSeed({"nodeType": "stop_return", "returnValue": "got [[START.item]]"}),
    }
    edges = [
        EdgeSeed("start", "check"),
        EdgeSeed("check", "fail", "x", "branch", {"type": "equals", "value": "true"}),
        EdgeSeed("check", "answer", "x", "branch", {"type": "equals", "value": "false"}),
    ]
    workflow = make_workflow(connection, nodes, edges, **more)
    config = {"nodeType": "stop_return", "returnValue": f"got [[{workflow.nodes['start']}.item]]"}
    update(connection, "lenses.workflow_nodes", workflow.nodes["answer"], config=config)
    return workflow


def calling(connection: Connection, child: UUID, **config: Any) -> SeededWorkflow:
    call_it = NodeSeed({"nodeType": "sub_workflow", "workflowId": str(child), **config})
    after = NodeSeed({"nodeType": "json_transform", "path": "result"})
    nodes = {"start": NodeSeed({"nodeType": "manual_trigger"}), "call": call_it, "after": after}
    return make_workflow(connection, nodes, [EdgeSeed("start", "call"), EdgeSeed("call", "after")])


def looping(connection: Connection, child: UUID, **config: Any) -> SeededWorkflow:
    node = {"nodeType": "loop_map", "arrayPath": "list", "workflowId": str(child), **config}
    nodes = {"start": NodeSeed({"nodeType": "manual_trigger"}), "each": NodeSeed(node)}
    return make_workflow(connection, nodes, [EdgeSeed("start", "each")])


def children(connection: Connection, run_id: UUID) -> list[dict[str, Any]]:
    return rows(
        connection,
        "SELECT * FROM lenses.workflow_runs WHERE parent_run_id = %s ORDER BY metadata ->> 'item'",
        run_id,
    )


def end(connection: Connection, run_id: UUID, status: str = "completed") -> None:
    """End a run as a worker does, without doing it."""
    rows(
        connection,
        "UPDATE lenses.workflow_runs SET status = 'running', started_at = now() WHERE id = %s",
        run_id,
    )
    call(connection, "SELECT worker.finish_workflow_run(%s, %s)", run_id, status)
