"""Webhooks: what the platform has to tell other systems, one signed request at a time."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from app.claims import Claim
from app.http import guarded_client
from app.settings import settings
from app.webhooks.attempt import Report, post
from app.webhooks.delivery import Delivery, body_of
from app.webhooks.outbox import Undeliverable, bury, mark_delivered, put_off
from app.webhooks.retrying import read_delays
from app.webhooks.signing import headers_of
from app.webhooks.verdicts import Delivered, TryAgain, judge
from app.work import work

log = structlog.get_logger(__name__)

#: Time for what is around the request, above all waiting for the database.
AROUND_THE_REQUEST_MS = 90_000


@work(
    "webhook_delivery",
    queue="webhooks",
    job=Delivery,
    fail=bury,
    time_limit_ms=settings().webhook_timeout_ms + AROUND_THE_REQUEST_MS,
)
def deliver_webhook(claim: Claim[Delivery]) -> None:
    """Send one due row of the outbox to its endpoint, once, and write down what came of it."""
    delivery = claim.job
    if delivery.refusal:
        raise Undeliverable(*delivery.refusal.partition(": ")[::2])
    report = claim.hand.take_one(Report) or _send(delivery)
    verdict = judge(delivery, report, read_delays(settings().webhook_retry_delays_seconds))
    if isinstance(verdict, Delivered):
        if not claim.hand:
            claim.hand.hold(report)  # what the endpoint has is not sent again
        claim.finish(lambda tx: mark_delivered(tx, delivery, report))
    elif isinstance(verdict, TryAgain):
        after_seconds = verdict.after_seconds
        claim.finish(lambda tx: put_off(tx, delivery, report, after_seconds))
    log.info(
        "webhook sent",
        webhookId=str(delivery.outbox_id),
        host=delivery.host,
        status=report.status,
        reason=report.error_code,
        durationMs=report.duration_ms,
        verdict=type(verdict).__name__,
    )
    if not isinstance(verdict, Delivered | TryAgain):
        raise Undeliverable(verdict.code, verdict.reason, report, disables=verdict.disables)


def _send(delivery: Delivery) -> Report:
    now = datetime.now(UTC)
    body = body_of(delivery, now)
    secrets = delivery.live_secrets(settings().webhook_previous_signing_secret)
    return post(
        guarded_client(),
        delivery.target_url,
        headers_of(delivery, body, secrets, now),
        body,
        deadline_seconds=settings().webhook_timeout_ms / 1000,
    )
