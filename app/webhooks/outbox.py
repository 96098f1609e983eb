"""The outbox in the database: what came of a delivery goes in, in the transaction that ends its claim."""

from __future__ import annotations

from uuid import UUID, uuid4

from psycopg2.extensions import cursor
from psycopg2.extras import Json

from app.errors import GiveUp, JobError
from app.webhooks.attempt import Report
from app.webhooks.delivery import Delivery


class Undeliverable(GiveUp):
    """A delivery is given up; `report` is of its last attempt, `disables` ends its endpoint too."""

    def __init__(
        self, code: str, message: str, report: Report | None = None, *, disables: bool = False
    ) -> None:
        super().__init__(code, message)
        self.report = report
        self.disables = disables


def add_webhook(tx: cursor, *, event_type: str, payload: object, target_url: str) -> UUID:
    """Put an event into the outbox, signed with the platform's secret when it is sent; returns its id.

    It is sent if and when the caller's transaction commits. `payload` is anything that JSON can hold.
    """
    webhook_id = uuid4()
    tx.execute(
        "SELECT worker.fn_add_webhook(%s, %s, %s, %s)",
        (webhook_id, event_type, Json(payload), target_url),
    )
    return webhook_id


def mark_delivered(tx: cursor, delivery: Delivery, report: Report) -> None:
    """The endpoint has it."""
    _settle(tx, delivery.outbox_id, "delivered", None, report)


def put_off(tx: cursor, delivery: Delivery, report: Report, after_seconds: float) -> None:
    """Let the row wait in the outbox for its next attempt."""
    reason = f"{report.error_code}: {report.error_message}"
    _settle(tx, delivery.outbox_id, "retry", reason, report, delay_ms=round(after_seconds * 1000))


def bury(tx: cursor, outbox_id: UUID, error: JobError) -> None:
    """Make the row a dead letter, and disable its endpoint where the error says so."""
    report = error.report if isinstance(error, Undeliverable) else None
    disables = isinstance(error, Undeliverable) and error.disables
    _settle(tx, outbox_id, "disable" if disables else "dead", str(error), report)


def _settle(
    tx: cursor,
    outbox_id: UUID,
    verdict: str,
    reason: str | None,
    report: Report | None,
    *,
    delay_ms: int | None = None,
) -> None:
    tx.execute(
        "SELECT worker.settle_webhook(%s, %s, %s, %s, %s)",
        (outbox_id, verdict, reason, Json(report.as_json()) if report else None, delay_ms),
    )
