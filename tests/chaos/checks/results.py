"""Whether what came of the work is there once, and comes from whoever did it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.evidence import Evidence, service_of
from tests.chaos.outside import number_of


def results_are_there_once(evidence: Evidence) -> Iterator[str]:
    """A job that succeeded left one result, one that failed none, and no node was completed twice."""
    for kind, table in (("lens run", "lens_runs"), ("battle job", "battle_jobs")):
        for row in evidence[table]:
            expected = int(row["status"] in ("succeeded", "completed"))
            if row["results"] != expected:
                yield f"{kind} {row['id']} {row['status']} with {row['results']} results"
    for row in evidence["nodes"]:
        if row["completions"] != int(row["status"] == "completed"):
            yield (
                f"node {row['label']} of {row['run_id']} is {row['status']}, "
                f"and was told to be completed {row['completions']} times"
            )
    for row in evidence["team_runs"]:
        if row["status"] == "completed" and (row["steps"], row["messages"]) != (2, 2):
            yield f"team run {row['id']} has {row['steps']} steps and {row['messages']} messages"


def battles_are_opened_once(evidence: Evidence) -> Iterator[str]:
    """A battle whose jobs have ended is being voted on, and became so once."""
    openings = {row["battle_id"]: row["openings"] for row in evidence["openings"]}
    for battle, status in {(row["battle_id"], row["battle_status"]) for row in evidence["battle_jobs"]}:
        ends = [row["status"] for row in evidence["battle_jobs"] if row["battle_id"] == battle]
        if set(ends) == {"completed"} and status != "voting":
            yield f"battle {battle} has all its answers and is {status}"
        if openings.get(battle, 0) > 1:
            yield f"battle {battle} was opened {openings[battle]} times"


def answers_are_of_the_newest_attempt(evidence: Evidence) -> Iterator[str]:
    """The worker that holds the claim in the end is the one that got the answer that is stored."""
    last = {
        claim["job"]: claim for claim in sorted(evidence["claims"], key=lambda claim: claim["claimed_at"])
    }
    for table in ("lens_runs", "battle_jobs"):
        for row in evidence[table]:
            number = number_of(row["answer"] or "")
            claim = last.get(row["id"])
            if number is None or claim is None or claim["kind"] not in ("lens_run", "battle_job"):
                continue
            got, holds = evidence.asked[number].worker, service_of(claim)
            if got != holds:
                yield f"{claim['kind']} {row['id']} is {holds}'s and has the answer that {got} got"
