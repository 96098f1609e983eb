"""Whether processes and their sessions are as they were, and ended for a reason only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.chaos.crew import PROCESSES, WORKERS
from tests.chaos.evidence import Evidence, Row, seconds_of, service_of

#: Why a job is put back that has to wait.
WAITS = ("provider.waiting", "budget.waiting")
#: A session that stays idle in a transaction for longer was forgotten there.
IDLE_SECONDS = 5.0
#: A worker process's own, and what the scheduler and the forwarder have.
MOST_SESSIONS = 6 * PROCESSES * len(WORKERS) + 4 + 4


def attempts_end_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """A worker counts as dead, or hands a job back, only where a fault befell it."""
    for claim in evidence["claims"]:
        for entry in claim["history"]:
            if entry["ended"] == "error" or _has_to_wait(claim, entry):
                continue
            service, since, until = service_of(entry), seconds_of(entry["from"]), seconds_of(entry["to"])
            if not evidence.ledger.explain(service, since, until):
                how = f"{entry['ended']} of {entry['worker_id']} from {entry['from']} to {entry['to']}"
                yield f"{claim['kind']} {claim['job']}: {how}"


def _has_to_wait(claim: Row, entry: Row) -> bool:
    """Whether an attempt was put back for a limit, a budget, or a medium that is being rendered."""
    return entry["ended"] == "handed_back" and (
        entry.get("error_code") in WAITS or (claim["kind"] == "media_poll" and "error_code" in entry)
    )


def processes_end_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """No process ends by itself."""
    for name, code, at in evidence.exits:
        if not evidence.ledger.explain(name, at, at):
            yield f"{name} ended with {code}"


def no_passage_is_left(evidence: Evidence) -> Iterator[str]:
    """Nobody who is gone still takes up room under a provider's limit."""
    for row in evidence["passages"]:
        yield f"{row['ticket']} passes for {row['provider']} since {row['taken_at']}: {row['claim']}"


def sessions_are_few_and_free(evidence: Evidence) -> Iterator[str]:
    """No session was forgotten in a transaction, and there are no more than in the beginning."""
    sessions = evidence["sessions"]
    for row in sessions:
        if (row["state"] or "").startswith("idle in transaction") and row["seconds"] > IDLE_SECONDS:
            yield f"{row['name']} is {row['state']} for {row['seconds']:.0f} s"
    if len(sessions) > MOST_SESSIONS:
        yield f"{len(sessions)} sessions: {dict(Counter(row['name'] for row in sessions))}"


def all_workers_are_back(evidence: Evidence) -> Iterator[str]:
    """Each worker process holds its lease in the end, and nobody else does."""
    held = len(evidence["leases"])
    if held != PROCESSES * len(WORKERS):
        yield f"{held} leases are held"
