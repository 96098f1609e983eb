"""Workflow runs as the platform keeps them: the claimed row, its graph, and the results of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json
from pydantic import BaseModel, Field, JsonValue, NonNegativeInt

from app.calls import Call, call_parameters
from app.database import Database
from app.errors import JobError, WorkerError
from app.platform.json_values import storable
from app.platform.rows import only_row
from app.platform.run_events import RunEvent, event_parameters


class WorkflowRun(BaseModel):
    """A run as worker.fn_running_workflow_run describes it.

    `global_model_id` is a model's key, in spite of its name. `owner_lenser_id` owns the workflow and
    `workspace_id` is the owner's personal workspace.
    """

    run_id: UUID
    workflow_id: UUID
    schedule_id: UUID | None
    triggered_by: UUID | None
    owner_lenser_id: UUID
    workspace_id: UUID | None
    context_inputs: dict[str, JsonValue]
    global_model_id: str | None
    ai_lenser_id: UUID | None
    trigger_mode: str
    parent_run_id: UUID | None
    recursion_depth: NonNegativeInt
    budget_credits: int | None
    spent_credits: int
    started_at: datetime


class RunGraph(BaseModel):
    """The rows of the graph that a run is bound to; `app.workflow.rows` reads them one by one.

    `worked_ms` is how long earlier attempts were at work that put the run down, to wait.
    """

    nodes: list[dict[str, JsonValue]]
    edges: list[dict[str, JsonValue]]
    worked_ms: NonNegativeInt = 0


class NodeRow(BaseModel):
    """What is stored of a node so far."""

    node_id: UUID
    status: str
    output_data: JsonValue
    error_message: str | None
    retry_count: int
    waiting_reason: str | None
    started_at: datetime | None


class Parking(BaseModel):
    """What is kept of a node that waits without a worker; due at a time, after a delay, or never."""

    reason: str
    due_at: datetime | None = None
    after_ms: NonNegativeInt | None = None
    memo: dict[str, JsonValue] = {}
    ask: dict[str, JsonValue] | None = None
    ticket: UUID | None = None


class NodeWrite(BaseModel):
    """A node's next row; what is None keeps what is stored, but for `waiting_reason`."""

    node_id: UUID
    status: str
    output_data: dict[str, JsonValue] | None = None
    error_message: str | None = None
    resolved_input_snapshot: dict[str, JsonValue] | None = None
    provider_route: dict[str, JsonValue] | None = None
    waiting_reason: str | None = None
    retry_count: NonNegativeInt = 0
    input_tokens: NonNegativeInt = 0
    output_tokens: NonNegativeInt = 0
    cost_credits: NonNegativeInt = 0
    ttfb_ms: NonNegativeInt | None = None
    duration_ms: NonNegativeInt | None = None
    parked: Parking | None = None


class Verdict(StrEnum):
    """Whether an attempt may go on with a run; the values of worker.heartbeat_workflow_run."""

    OURS = "ours"
    STALE = "stale"
    CANCELLED = "cancelled"
    KILLED = "killed"
    ENDED = "ended"
    TAKEN = "taken"
    GONE = "gone"


class RunLost(WorkerError):  # noqa: N818 - an outcome, read aloud in except clauses
    """The run is not this attempt's any more; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.value)
        self.verdict = verdict


class RunHold(BaseModel):
    """One attempt's hold on a run: all it writes is refused once the hold is lost.

    `message_id` and `attempt` are those of the claim, of a workflow run or of the team run it belongs to.
    """

    message_id: UUID
    attempt: int = Field(ge=1)
    run_id: UUID

    def beat(self, database: Database) -> Verdict:
        """Say that the run is being worked on, and learn whether it still should be."""
        return self._ask(database, "SELECT worker.heartbeat_workflow_run(%s, %s, %s) AS verdict")

    def save(
        self,
        database: Database,
        results: Sequence[NodeWrite],
        events: Sequence[RunEvent] = (),
        calls: Sequence[Call] = (),
        *,
        forgets_kept: bool = False,
        again: bool = False,
    ) -> Verdict:
        """Write nodes, events, and what was asked of providers, in one transaction and one round trip.

        With `forgets_kept` it is what the claim's job had kept, which is kept no more. With `again` it may
        have been written before: a node's result and an event are there once all the same.
        """
        written = [storable(result.model_dump(mode="json", exclude_none=True)) for result in results]
        return self._ask(
            database,
            "SELECT worker.save_run_progress(%s, %s, %s, %s, %s::jsonb[], p_calls => %s,"
            " p_forgets_kept => %s, p_again => %s) AS verdict",
            Json(written),
            event_parameters(events),
            call_parameters(calls),
            forgets_kept,
            again,
        )

    def note_calls(self, database: Database, calls: Sequence[Call]) -> None:
        """Write down calls to providers, whoever has the run by now: they were paid for."""
        database.call("SELECT worker.note_calls(%s, %s)", (self.message_id, call_parameters(calls)))

    def close_ended(self, database: Database) -> bool:
        """Tidy up after a run that somebody else ended; False when the hold itself was lost."""
        rows = database.call(
            "SELECT worker.close_ended_run(%s, %s, %s) AS closed",
            (self.message_id, self.attempt, self.run_id),
        )
        return bool(rows[0]["closed"])

    def _ask(self, database: Database, statement: str, *more: Any) -> Verdict:
        rows = database.call(statement, (self.message_id, self.attempt, self.run_id, *more))
        return Verdict(rows[0]["verdict"])


def fetch_graph(database: Database, run_id: UUID) -> RunGraph | None:
    """The graph as it was when the run began, or None when the run has ended."""
    rows = database.call("SELECT graph, worked_ms FROM worker.run_graphs WHERE run_id = %s", (run_id,))
    return RunGraph(**rows[0]["graph"], worked_ms=rows[0]["worked_ms"]) if rows else None


def fetch_nodes(database: Database, run_id: UUID) -> list[NodeRow]:
    """What is stored of a run's nodes; a resumed run goes on from the completed ones."""
    rows = database.call("SELECT * FROM worker.fn_node_rows(%s)", (run_id,))
    return [NodeRow.model_validate(row) for row in rows]


def finish_run(
    tx: cursor, run_id: UUID, status: str, *, result: JsonValue = None, events: Sequence[RunEvent] = ()
) -> bool:
    """End a run, in the transaction that ended its claim; False when it had ended already.

    `status` is completed, failed, cancelled or timed_out. Nodes that have not ended do so with it.
    """
    tx.execute(
        "SELECT worker.finish_workflow_run(%s, %s, %s, %s::jsonb[]) AS ended",
        (run_id, status, None if result is None else Json(storable(result)), event_parameters(events)),
    )
    return bool(only_row(tx)["ended"])


def fail_run(tx: cursor, run_id: UUID, error: JobError) -> None:
    """Fail a run with its error, and keep it among the platform's dead letters."""
    tx.execute("SELECT worker.fail_workflow_run(%s, %s, %s)", (run_id, error.code, storable(error.message)))
