"""One run in one JSON object."""

from __future__ import annotations

from itertools import islice
from typing import Any

from tests.chaos.checks import CHECKS, Check
from tests.chaos.evidence import Evidence
from tests.chaos.run import Plan

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
        "provider_calls": len(evidence.asked),
        "questions": len(questions),
        "spoiled_calls": sum(asked.spoiled is not None for asked in evidence.asked),
        "repeated_calls": sum(len(asked) - 1 for asked in questions.values()),
        "deaths": sum(claim["deaths"] for claim in evidence["claims"]),
        "failed": sum(claim["outcome"] in ("failed", "poison") for claim in evidence["claims"]),
        "invariants": invariants,
    }


def _judge(check: Check, evidence: Evidence) -> dict[str, Any]:
    wrong = list(check(evidence))
    lines = list(islice(wrong, MAX_LINES))
    if len(wrong) > MAX_LINES:
        lines.append(f"and {len(wrong) - MAX_LINES} more")
    return {"name": check.__name__, "ok": not wrong, "detail": lines}
