"""Runs that a node of another run starts and waits for; see worker.child_runs."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from psycopg2.extras import Json
from pydantic import BaseModel, Field, JsonValue

from app.database import Database
from app.platform.json_values import storable

#: Most bytes of JSON that the results of all children of a node may have together.
MOST_RESULT_BYTES = 8 * 1024 * 1024


class Started(StrEnum):
    """What became of the wish to start children; the values of worker.start_child_runs."""

    STARTED = "started"
    UNKNOWN_WORKFLOW = "unknown_workflow"
    NOT_YOURS = "not_yours"
    TOO_DEEP = "too_deep"
    RUN_ENDED = "run_ended"


class ChildOutput(BaseModel):
    """What one of a child's last nodes gave."""

    node_id: UUID
    label: str | None
    output: dict[str, JsonValue]


class ChildRun(BaseModel):
    """How the run of one item ended: completed, failed, cancelled or timed_out.

    Or `open` while it hasn't, `skipped` if it was never started, and `too_large` where its outputs don't fit.
    """

    item: int
    child_run_id: UUID | None
    status: str
    reason: str | None
    outputs: list[ChildOutput]


class Batch(BaseModel):
    """What a node starts: a run of a workflow for each of some inputs, so many at once.

    `max_depth` is how many workflows may run within each other.
    """

    workflow_id: UUID
    inputs: list[dict[str, JsonValue]]
    concurrency: int = Field(default=1, ge=1)
    stops_on_failure: bool = True
    max_depth: int = Field(ge=1)


def start_children(database: Database, run_id: UUID, node_id: UUID, batch: Batch) -> Started:
    """Start the runs of a batch, or nothing if that was done before."""
    rows = database.call(
        "SELECT worker.start_child_runs(%s, %s, %s, %s::jsonb[], %s, %s, %s) AS it",
        (
            run_id,
            node_id,
            batch.workflow_id,
            [Json(storable(given)) for given in batch.inputs],
            batch.concurrency,
            batch.stops_on_failure,
            batch.max_depth,
        ),
    )
    return Started(rows[0]["it"])


def fetch_children(database: Database, run_id: UUID, node_id: UUID) -> list[ChildRun]:
    """How the children of a node ended, in the order of their items."""
    rows = database.call(
        "SELECT * FROM worker.child_outcomes(%s, %s, %s)", (run_id, node_id, MOST_RESULT_BYTES)
    )
    return [ChildRun.model_validate(row) for row in rows]
