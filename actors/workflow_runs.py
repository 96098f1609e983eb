"""Workflow runs: the nodes of a graph, each as soon as those before it are done."""

from __future__ import annotations

import structlog

from app import engine
from app.claims import Claim
from app.database import database
from app.platform.workflows import RunHold, WorkflowRun, fail_run, finish_run
from app.settings import settings
from app.work import work

log = structlog.get_logger(__name__)

#: Time for everything around the nodes: the graph, earlier results, and waiting for the database.
AROUND_THE_NODES_MS = 90_000


@work(
    "workflow_run",
    queue="workflow_runs",
    job=WorkflowRun,
    fail=fail_run,
    time_limit_ms=settings().workflow_timeout_ms + AROUND_THE_NODES_MS,
)
def execute_workflow_run(claim: Claim[WorkflowRun]) -> None:
    """Bring one workflow run to its end; what earlier attempts completed is not done again."""
    run = claim.job
    hold = RunHold(message_id=claim.message_id, attempt=claim.attempt, run_id=run.run_id)
    ending = engine.execute(database(), run, hold, claim.hand)
    if ending is None:
        return
    ending.raise_if_failed()
    claim.finish(
        lambda tx: finish_run(tx, run.run_id, ending.status, result=ending.result, events=ending.events)
    )
    log.info(
        "workflow run ended",
        runId=str(run.run_id),
        workflowId=str(run.workflow_id),
        status=ending.status.value,
        nodes=ending.counts,
    )
