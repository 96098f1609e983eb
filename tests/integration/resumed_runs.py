"""Runs whose worker dies between what a node did and the row that tells of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from app.claims import Claim, open_claim
from app.database import Database
from app.engine import execute
from app.platform.workflows import WorkflowRun
from tests.integration.node_runs import Ran
from tests.integration.workflow_rows import hold_of, rows


def execute_and_lose(database: Database, ran: Ran, *nodes: str) -> Claim[dict[str, Any]]:
    """Execute the run, and take back that it and the nodes have ended, as if nobody had written it."""
    claimed = _open(database, uuid4(), ran.run_id)
    execute(database, WorkflowRun.model_validate(claimed.job), hold_of(claimed), claimed.hand)
    for name in nodes:
        rows(
            ran.connection,
            "UPDATE lenses.workflow_node_results"
            " SET status = 'running', output_data = NULL, completed_at = NULL"
            " WHERE run_id = %s AND node_id = %s",
            ran.run_id,
            ran.workflow.nodes[name],
        )
    return claimed


def execute_again(database: Database, ran: Ran, lost: Claim[dict[str, Any]]) -> Ran:
    """Another worker takes the message of the lost one, and goes on."""
    claimed = _open(database, lost.message_id, None)
    assert claimed.attempt == lost.attempt + 1
    execute(database, WorkflowRun.model_validate(claimed.job), hold_of(claimed), claimed.hand)
    return ran


def _open(database: Database, message_id: UUID, hint: UUID | None) -> Claim[dict[str, Any]]:
    _, claimed = open_claim(database, message_id, "workflow_run", "tester:1", hint=hint, max_deaths=3)
    assert claimed is not None, "nothing was claimed"
    return claimed
