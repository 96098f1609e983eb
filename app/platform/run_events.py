"""Events of workflow runs, as the log, the web's timeline and the followers of a run get them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal
from uuid import UUID

from psycopg2.extras import Json
from pydantic import BaseModel, JsonValue

from app.database import Database
from app.platform.json_values import storable


class RunEventType(StrEnum):
    """The types that readers of the log know."""

    RUN_STARTED = "run.started"
    RUN_STATUS_CHANGED = "run.status.changed"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    RUN_TIMED_OUT = "run.timed_out"
    RUN_RECOVERED = "run.recovered"
    NODE_QUEUED = "node.queued"
    NODE_WAITING = "node.waiting"
    NODE_STARTED = "node.started"
    NODE_RETRIED = "node.retried"
    NODE_COMPLETED = "node.completed"
    NODE_FAILED = "node.failed"
    NODE_CANCELLED = "node.cancelled"
    NODE_SKIPPED = "node.skipped"
    NODE_TIMED_OUT = "node.timed_out"
    NODE_BLOCKED = "node.blocked"
    NODE_INVALIDATED = "node.invalidated"
    NODE_LOG = "node.log"
    CONTRACT_VIOLATED = "contract.violated"
    MODERATION_FLAGGED = "moderation.flagged"


class RunEvent(BaseModel):
    """One event; a payload of a node's event has its `nodeId`. Large values become references when stored."""

    type: RunEventType
    payload: dict[str, JsonValue] = {}


class Message(BaseModel):
    """What goes out on a run's channel: one event in its envelope, or several in a message `run.events`."""

    event: str
    payload: dict[str, JsonValue]


class Outgoing(BaseModel):
    """What is to be sent for a run now, in order.

    The state is ready; busy, while another process is sending; or full, when more than may go out in this
    second waits for the next one. Messages are settled as their `sender`.
    """

    state: Literal["ready", "busy", "full"]
    messages: list[Message]
    sender: UUID | None = None


def event_parameters(events: Sequence[RunEvent]) -> list[Json]:
    """Events as an argument of type jsonb[]."""
    return [Json({"type": event.type.value, "payload": storable(event.payload)}) for event in events]


def take_messages(database: Database, run_id: UUID) -> Outgoing:
    """Take what is to be sent for a run over HTTP; nobody else does until that is settled."""
    return Outgoing.model_validate(
        database.call("SELECT worker.take_run_messages(%s) AS it", (run_id,))[0]["it"]
    )


def settle_messages(database: Database, run_id: UUID, sender: UUID | None, failures: int) -> None:
    """Note that what `sender` took was sent, and how many messages of it Realtime didn't take.

    A sender whose lease ran out meanwhile doesn't end the turn of the one after it.
    """
    database.call("SELECT worker.settle_run_messages(%s, %s, %s)", (run_id, sender, failures))
