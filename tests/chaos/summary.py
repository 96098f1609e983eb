"""One run in one JSON object."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

from tests.chaos.checks import CHECKS, Check
from tests.chaos.checks.calls import reasons_of_repeats
from tests.chaos.checks.metering import most_a_minute, most_at_once
from tests.chaos.evidence import Evidence
from tests.chaos.run import Plan
from tests.chaos.terms import LIMITS, Limit

#: Lines of what is wrong that a summary repeats for one invariant.
MAX_LINES = 8


def summarise(plan: Plan, evidence: Evidence, *, mutant: str | None = None) -> dict[str, Any]:
    """What was done, what befell it, and what held."""
    invariants = [_judge(check, evidence) for check in CHECKS]
    questions = evidence.questions()
    return {
        "ok": all(invariant["ok"] for invariant in invariants),
        "seed": plan.seed,
        "mutant": mutant,
        "minutes": round(evidence.seconds / 60, 2),
        "jobs": {kind: len(jobs) for kind, jobs in sorted(evidence.accepted.items())},
        "faults": evidence.ledger.counts(),
        "hits": evidence.ledger.hits(),
        "provider_calls": len(evidence.asked),
        "questions": len(questions),
        "spoiled_calls": sum(asked.spoiled is not None for asked in evidence.asked),
        "repeated_calls": sum(len(asked) - 1 for asked in questions.values()),
        "repeats": _repeats(evidence),
        "deaths": sum(claim["deaths"] for claim in evidence["claims"]),
        "failed": sum(claim["outcome"] in ("failed", "poison") for claim in evidence["claims"]),
        "limits": {str(limit): _use_of(limit, evidence) for limit in LIMITS},
        "budgets": {
            budget["owner"]: f"{budget['spent_usd'] + budget['held_usd']:f} of {budget['limit_usd']} USD"
            for budget in evidence["budgets"]
        },
        "invariants": invariants,
    }


def _repeats(evidence: Evidence) -> dict[str, int]:
    """How many calls were made again, by the reason for it."""
    reasons = Counter(
        reason or "nothing"
        for asked in evidence.questions().values()
        for reason in reasons_of_repeats(evidence, asked)
    )
    return dict(sorted(reasons.items()))


def _use_of(limit: Limit, evidence: Evidence) -> str:
    """How much of what a provider takes it was sent."""
    if limit.concurrency:
        return f"{most_at_once(evidence, limit)[0]} of {limit.concurrency} at once"
    return f"{most_a_minute(evidence, limit)[0]} of {limit.requests_per_minute} a minute"


def _judge(check: Check, evidence: Evidence) -> dict[str, Any]:
    wrong = list(check(evidence))
    lines = list(islice(wrong, MAX_LINES))
    if len(wrong) > MAX_LINES:
        lines.append(f"and {len(wrong) - MAX_LINES} more")
    return {"name": check.__name__, "ok": not wrong, "detail": lines}
