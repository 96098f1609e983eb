"""What follows from an attempt: delivered, another one later, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.webhooks.attempt import Report
from app.webhooks.delivery import Delivery
from app.webhooks.retrying import retry_after_seconds

#: An endpoint that has done nothing but fail for this long is disabled.
DISABLED_AFTER_SECONDS = 5 * 24 * 3600.0

#: Client errors that may pass: timeouts, conflicts, early hints, limits, and a login that is being set up.
_PASSING = frozenset({401, 403, 404, 408, 409, 421, 423, 425, 429})


@dataclass(frozen=True)
class Delivered:
    """The endpoint has it."""


@dataclass(frozen=True)
class TryAgain:
    """The row waits in the outbox for its next attempt."""

    after_seconds: float


@dataclass(frozen=True)
class GivenUp:
    """The row is a dead letter; with `disables` so is whatever else waits for the endpoint."""

    code: str
    reason: str
    disables: bool = False


Verdict = Delivered | TryAgain | GivenUp


def judge(delivery: Delivery, report: Report, delays: Sequence[float]) -> Verdict:
    """Decide what follows from a report.

    For good, at once: 410, which also disables the endpoint; a URL we won't dial; 400, 405, 413, 415, 422 and
    the other client errors that no repetition changes. Everything else is tried again after each of `delays`.
    """
    if report.is_success:
        return Delivered()
    code, reason = report.error_code or "webhook.failed", report.error_message or "the attempt failed"
    if report.status == 410:
        return GivenUp("webhook.gone", "the endpoint answered 410", disables=True)
    if (delivery.failing_seconds or 0.0) >= DISABLED_AFTER_SECONDS:
        return GivenUp("webhook.endpoint_failing", f"failing for five days, lastly: {reason}", disables=True)
    if report.is_refused or _is_permanent(report.status):
        return GivenUp(code, reason)
    wait = retry_after_seconds(delivery.attempts + 1, delays, asked_seconds=report.asked_seconds)
    if wait is None:
        return GivenUp("webhook.exhausted", f"given up after {delivery.attempts + 1} attempts: {reason}")
    return TryAgain(wait)


def _is_permanent(status: int | None) -> bool:
    return status is not None and 400 <= status < 500 and status not in _PASSING
