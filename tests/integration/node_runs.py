"""Workflows of a few nodes, executed by hand: what each test of nodes that ask providers starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.engine import execute
from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from app.platform.workflows import WorkflowRun
from tests.integration.workflow_rows import claim, hold_of, rows


@dataclass(frozen=True)
class Ran:
    """A run that was executed once, and the rows of its nodes by their names."""

    run_id: UUID
    workflow: SeededWorkflow
    connection: Connection

    def node(self, name: str) -> dict[str, Any]:
        statement = "SELECT * FROM lenses.workflow_node_results WHERE run_id = %s AND node_id = %s"
        return rows(self.connection, statement, self.run_id, self.workflow.nodes[name])[0]

    def output(self, name: str) -> dict[str, Any]:
        row = self.node(name)
        assert row["status"] == "completed", row["error_message"]
        output: dict[str, Any] = row["output_data"]
        return output

    def error(self, name: str) -> str:
        row = self.node(name)
        assert row["status"] == "failed", row
        return str(row["error_message"])


def start(
    connection: Connection,
    nodes: Mapping[str, NodeSeed],
    edges: Sequence[EdgeSeed] = (),
    inputs: Mapping[str, Any] | None = None,
    **columns: Any,
) -> Ran:
    """A run that waits for a worker."""
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=inputs, **columns)
    return Ran(run_id, workflow, connection)


def execute_once(database: Database, ran: Ran, message: UUID | None = None) -> Ran:
    """Claim the run and execute it until it ends or is put down; `message` is that of its open claim."""
    claimed = claim(database, hint=ran.run_id, message=message)
    assert claimed is not None, "nothing was claimed"
    execute(database, WorkflowRun.model_validate(claimed.job), hold_of(claimed), claimed.hand)
    return ran
