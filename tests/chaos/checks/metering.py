"""Whether providers saw no more than they take, from all processes together and whatever befell those."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from app.broker.lease import RENEWALS_PER_LEASE
from tests.chaos.evidence import Evidence
from tests.chaos.outside import Asked
from tests.chaos.run import LEASE_SECONDS
from tests.chaos.terms import LIMITS, WINDOW_SECONDS, Limit

#: After so long at the soonest a worker that is silent is taken for dead: it was about to renew its lease.
SILENT_SECONDS = LEASE_SECONDS * (1 - 1 / RENEWALS_PER_LEASE)
#: What a worker's threads were about to do when it was frozen they do at once when it is thawed.
THAWING_SECONDS = 2.0


def calls_at_once_are_few_enough(evidence: Evidence) -> Iterator[str]:
    """No provider had more requests under way than it takes at once.

    One whose worker has gone is over; so is one of a worker that is silent for longer than its lease. Where
    such a worker asks late, before it learns that others have its work, they have its room too.
    """
    for limit in LIMITS:
        most, at = most_at_once(evidence, limit)
        if limit.concurrency and most > limit.concurrency:
            calls = [call for call in evidence.asked if limit.covers(call) and call.began_at <= at]
            under_way = [str(call) for call in calls if _room_until(evidence, call) > at]
            yield f"{most} calls to {limit} at once, of {limit.concurrency}: {', '.join(under_way)}"


def calls_a_minute_are_few_enough(evidence: Evidence) -> Iterator[str]:
    """No minute, wherever it begins, saw more requests than a provider takes in one."""
    for limit in LIMITS:
        most, since = most_a_minute(evidence, limit)
        if limit.requests_per_minute and most > limit.requests_per_minute:
            yield f"{most} calls to {limit} in the minute from {since:.3f}, of {limit.requests_per_minute}"


def most_at_once(evidence: Evidence, limit: Limit) -> tuple[int, float]:
    """The most calls that were under way, and when that was first so; one that ends makes room at once."""
    changes = []
    for call in evidence.asked:
        if limit.covers(call):
            changes += [(call.began_at, 1), (_room_until(evidence, call), -1)]
    under_way, most, most_at = 0, 0, 0.0
    for at, change in sorted(changes):
        under_way += change
        if under_way > most:
            most, most_at = under_way, at
    return most, most_at


def most_a_minute(evidence: Evidence, limit: Limit) -> tuple[int, float]:
    """The most calls that came within one minute, and when that began."""
    at = sorted(call.began_at for call in evidence.asked if limit.covers(call))
    counts = ((bisect_left(at, start + WINDOW_SECONDS) - first, start) for first, start in enumerate(at))
    return max(counts, default=(0, 0.0))


def _room_until(evidence: Evidence, call: Asked) -> float:
    """When a call gave up its room at last, which is when it began where it never had any."""
    until = call.ended_at or call.began_at
    for fault in evidence.ledger.faults:
        if (fault.name, fault.target) != ("freeze worker", call.worker) or fault.ended_at is None:
            continue
        if fault.ended_at <= call.began_at <= fault.ended_at + THAWING_SECONDS:
            return call.began_at
        if call.began_at <= fault.began_at:
            until = min(until, max(call.began_at, fault.began_at + SILENT_SECONDS))
    return until
