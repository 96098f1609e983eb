"""Nodes that wait without a worker: parked with their run's progress, taken up when due or answered."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json
from pydantic import BaseModel, JsonValue

from app.database import Database
from app.platform.json_values import storable
from app.platform.rows import only_row
from app.platform.workflows import RunHold, Verdict


class TakenNode(BaseModel):
    """A parked node that has its turn again, with what it left and the answer {data, by, at}, if one came."""

    node_id: UUID
    memo: dict[str, JsonValue]
    answer: dict[str, JsonValue] | None = None


class ParkedNode(TakenNode):
    """A node as it was parked, maybe with its place in a provider's line.

    `is_taken` if an attempt has begun its next turn already.
    """

    reason: str
    ask: dict[str, JsonValue] | None
    due_at: datetime | None
    ticket: UUID | None
    is_taken: bool


class Taken(BaseModel):
    """What an attempt takes up, if it still may."""

    verdict: Verdict
    taken: list[TakenNode]


class Answered(StrEnum):
    """What became of an answer; the values of worker.answer_node."""

    ANSWERED = "answered"
    ALREADY_ANSWERED = "already_answered"
    TOO_LATE = "too_late"
    NEEDS_NO_ANSWER = "needs_no_answer"
    RUN_ENDED = "run_ended"
    NOT_WAITING = "not_waiting"


def fetch_parked(database: Database, run_id: UUID) -> list[ParkedNode]:
    """Every node of a run that has ever waited, ended ones too."""
    rows = database.call(
        """
        SELECT node_id, memo, worker.fn_given_answer(p) AS answer, reason, ask, due_at, ticket,
               taken_at IS NOT NULL AS is_taken
        FROM worker.parked_nodes p WHERE run_id = %s
        """,
        (run_id,),
    )
    return [ParkedNode.model_validate(row) for row in rows]


def take_up(database: Database, hold: RunHold) -> Taken:
    """Give the nodes their turn that are due or answered; from then on nobody can answer them."""
    return _ask(database, "SELECT worker.take_up_parked_nodes(%s, %s, %s) AS it", hold)


def put_down(database: Database, hold: RunHold, worked_ms: int) -> Taken:
    """Put a run down of which only parked nodes are left, unless some of them have their turn by now.

    Nothing taken means that it is put down: its claim is released and its message waits.
    """
    return _ask(database, "SELECT worker.put_down_workflow_run(%s, %s, %s, %s) AS it", hold, worked_ms)


def answer_node(
    tx: cursor, run_id: UUID, node_id: UUID, answer: JsonValue, by: UUID | None = None
) -> Answered:
    """Answer a node that waits, once, with anything but null; `by` is the profile of who answered."""
    tx.execute(
        "SELECT worker.answer_node(%s, %s, %s, %s) AS outcome", (run_id, node_id, Json(storable(answer)), by)
    )
    return Answered(only_row(tx)["outcome"])


def _ask(database: Database, statement: str, hold: RunHold, *more: int) -> Taken:
    rows = database.call(statement, (hold.message_id, hold.attempt, hold.run_id, *more))
    return Taken.model_validate(rows[0]["it"])
