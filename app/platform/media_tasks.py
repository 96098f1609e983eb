"""The worker's own record of what it ordered from providers: written before an order goes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from psycopg2.extensions import cursor

from app.claims import Claim
from app.database import Database
from app.errors import JobError

Verdict = Literal["submit", "started", "unknown", "stale"]


@dataclass(frozen=True)
class Order:
    """What is ordered for a job; `byok_key_id` is the stored key that pays, None the platform's."""

    provider: str
    model: str
    wire_model: str
    modality: str
    byok_key_id: UUID | None
    expires_seconds: float


@dataclass(frozen=True)
class Begun:
    """What the record says: whether to submit now, or what an earlier attempt came to."""

    verdict: Verdict
    task: UUID


def begin_submission(claim: Claim[Any], order: Order) -> Begun:
    """Write down, in a transaction of its own, that this attempt submits the order; or find that one did."""
    row = claim.database.call(
        "SELECT * FROM worker.fn_begin_submission(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            claim.message_id,
            claim.attempt,
            order.provider,
            order.model,
            order.wire_model,
            order.modality,
            order.byok_key_id,
            order.expires_seconds,
        ),
    )[0]
    return Begun(row["verdict"], row["task"])


def end_submission(
    database: Database, task: UUID, state: Literal["rejected", "unknown"], error: JobError
) -> None:
    """Write down that the order did not become a task, or that nobody knows."""
    database.call("SELECT worker.fn_end_submission(%s, %s, %s, %s)", (task, state, error.code, error.message))


def start_task(tx: cursor, task: UUID, task_id: str, poll_after_seconds: float) -> None:
    """Write down the provider's name of the task, and the message that asks for it."""
    tx.execute("SELECT worker.fn_start_media_task(%s, %s, %s)", (task, task_id, poll_after_seconds))


def end_task(tx: cursor, task: UUID) -> None:
    """Write down that the medium is handed in."""
    tx.execute("SELECT worker.fn_end_media_task(%s, 'finished')", (task,))


def fail_rendering(database: Database, task: UUID, error: JobError) -> None:
    """Write down that what came is of no use."""
    database.call("SELECT worker.fn_end_media_task(%s, 'failed', %s, %s)", (task, error.code, error.message))


def note_poll(database: Database, task: UUID, error: JobError | None) -> tuple[int, int]:
    """Count a poll that leaves the task where it is; gives all polls, and those in a row that failed."""
    row = database.call(
        "SELECT * FROM worker.fn_note_poll(%s, %s, %s)",
        (task, error.code if error else None, error.message if error else None),
    )[0]
    return row["polls"], row["failures"]
