"""What must hold whatever happened: each check gives a line for every thing that is wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from tests.chaos.crew import PROCESSES, WORKERS
from tests.chaos.evidence import Evidence, Row, speaks_of
from tests.chaos.outside import Asked, number_of

Check = Callable[[Evidence], Iterator[str]]

#: A session that stays idle in a transaction for longer was forgotten there.
IDLE_SECONDS = 5.0
#: A worker process's own, and what the scheduler and the forwarder have.
MOST_SESSIONS = 6 * PROCESSES * len(WORKERS) + 4 + 4
#: What a worker's threads were at when it was frozen they go on with when it is thawed.
THAWING_SECONDS = 15.0
#: What an answer may take to be written when the machine is busy.
WRITING_SECONDS = 1.0

#: Dramatiq's command notices the death of a child that was still starting after 30 s.
ENDING_SECONDS = 45.0

_PROVIDER_CODES = re.compile(r"provider\.|media\.|execute\.max_retries_exceeded")


def everything_has_ended(evidence: Evidence) -> Iterator[str]:
    """No job, claim, message, node, task or vote is left open."""
    for name, count in evidence.left.items():
        yield f"{count} {name} are left"


def nothing_accepted_is_lost(evidence: Evidence) -> Iterator[str]:
    """Whatever was committed is still there."""
    tables = {
        "lens_runs": ("text", "slow text", "image", "video"),
        "workflow_runs": ("workflow run",),
        "team_runs": ("team run",),
        "webhooks": ("webhook",),
        "voters": ("vote",),
    }
    for table, kinds in tables.items():
        there = {str(row["id"]) for row in evidence[table]}
        for kind in kinds:
            yield from (
                f"{kind} {job} is gone" for job in evidence.accepted.get(kind, ()) if str(job) not in there
            )
    battles = {str(row["battle_id"]) for row in evidence["battle_jobs"]}
    for battle in evidence.accepted.get("battle", ()):
        if str(battle) not in battles:
            yield f"battle {battle} has no jobs"


def ends_are_right(evidence: Evidence) -> Iterator[str]:
    """What failed had a fault to fail of, and what succeeded has its own answer."""
    for kind, table in (("lens run", "lens_runs"), ("battle job", "battle_jobs")):
        for row in evidence[table]:
            if row["status"] in ("succeeded", "completed"):
                if number_of(row["answer"] or "") is not None and not speaks_of(row["answer"], row["prompt"]):
                    yield f"{kind} {row['id']} has another one's answer: {row['answer']!r}"
            elif not _is_excused(evidence, row["error_code"], row["prompt"], row["id"]):
                yield f"{kind} {row['id']} ended as {row['status']} {row['error_code']}"
    for row in evidence["team_runs"]:
        if row["status"] != "completed" and not evidence.spoiled(row["prompt"]):
            yield f"team run {row['id']} ended as {row['status']} {row['error_code']}"
    yield from _wrong_ends_of_workflow_runs(evidence)


def _wrong_ends_of_workflow_runs(evidence: Evidence) -> Iterator[str]:
    nodes = evidence["nodes"]
    for run in evidence["workflow_runs"]:
        own = [node for node in nodes if node["run_id"] == run["id"]]
        failed = [node for node in own if node["status"] == "failed" and node["error"] != "upstream_failure"]
        if run["status"] == "completed":
            yield from (
                f"workflow run {run['id']} is completed and its node {node['label']} {node['status']}"
                for node in own
                if node["status"] != "completed"
            )
        elif not failed:
            yield f"workflow run {run['id']} ended as {run['status']} {run['error_code']}"
        for node in failed:
            is_unknown = "outcome_unknown" in (node["error"] or "")
            if not (is_unknown and _was_cut(evidence, run["id"])) and not evidence.spoiled(run["topic"]):
                yield f"node {node['label']} of workflow run {run['id']} failed: {node['error']}"


def _is_excused(evidence: Evidence, code: str | None, prompt: str, job: Any) -> bool:
    """A provider's failure is excused by one, poison and an order of unknown fate by a lost attempt."""
    if code is None:
        return False
    if code == "worker.poison":
        return _was_cut(evidence, job)
    if "submission" in code and _was_cut(evidence, job):
        return True
    return bool(_PROVIDER_CODES.match(code)) and evidence.spoiled(prompt) > 0


def _was_cut(evidence: Evidence, job: Any) -> bool:
    return any(claim["job"] == job and claim["attempt"] > 1 for claim in evidence["claims"])


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


def webhooks_are_delivered_once(evidence: Evidence) -> Iterator[str]:
    """Each webhook is recorded as delivered once, has arrived, and was repeated for a reason only."""
    arrived: dict[str, list[Any]] = {}
    for posted in evidence.posted:
        arrived.setdefault(posted.id, []).append(posted)
    for row in evidence["webhooks"]:
        if row["delivered_at"] is None:
            yield f"webhook {row['id']} is {row['state']}: {row['last_error']}"
            continue
        if row["successes"] != 1 or row["recorded"] != row["attempts"]:
            kept = f"{row['recorded']} of {row['attempts']} attempts are kept"
            yield f"webhook {row['id']}: {row['successes']} successes, {kept}"
        taken = [posted for posted in arrived.get(str(row["id"]), ()) if posted.taken]
        if not taken:
            yield f"webhook {row['id']} counts as delivered and never arrived"
        for posted in taken[:-1]:
            if not evidence.ledger.explain(None, posted.began_at, posted.began_at + WRITING_SECONDS):
                yield f"webhook {row['id']} was sent again without need"


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
            got, holds = evidence.asked[number].worker, _service(claim)
            if got != holds:
                yield f"{claim['kind']} {row['id']} is {holds}'s and has the answer that {got} got"


def calls_are_repeated_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """A provider is asked again only where it failed, or where a fault cut off whoever had asked.

    A worker that thaws may ask too, before it learns that another one has its work.
    """
    for (model, prompt, _), asked in evidence.questions().items():
        wanted = [call for call in asked if not _asks_too_late(evidence, call)]
        for call in wanted[:-1]:
            until = (call.ended_at or call.began_at) + WRITING_SECONDS
            if call.spoiled is None and not evidence.ledger.explain(call.worker, call.began_at, until):
                yield f"{model} had answered {prompt!r}, of {', '.join(map(str, asked))}"


def _asks_too_late(evidence: Evidence, call: Asked) -> bool:
    return any(
        fault.name == "freeze worker"
        and fault.target == call.worker
        and fault.ended_at is not None
        and fault.ended_at <= call.began_at <= fault.ended_at + THAWING_SECONDS
        for fault in evidence.ledger.faults
    )


def media_are_ordered_once(evidence: Evidence) -> Iterator[str]:
    """No provider ever took two orders for one job."""
    taken = Counter(item.prompt for item in evidence.items)
    yield from (f"{count} orders: {prompt!r}" for prompt, count in taken.items() if count > 1)


def messages_are_sent_once(evidence: Evidence) -> Iterator[str]:
    """What nobody can take back was sent once where its node says so, and never twice."""
    sent = Counter(evidence.messages)
    told = {
        row["run_id"] for row in evidence["nodes"] if row["label"] == "tell" and row["status"] == "completed"
    }
    for run in evidence["workflow_runs"]:
        count = sent[f"{run['topic']} is told"]
        if count > 1 or (run["id"] in told and count != 1):
            yield f"workflow run {run['id']} sent {count} messages"


def attempts_end_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """A worker counts as dead, or hands a job back, only where a fault befell it."""
    for claim in evidence["claims"]:
        for entry in claim["history"]:
            # What a provider still renders is put back too, until it is asked for again.
            if entry["ended"] == "error" or (entry["ended"], claim["kind"]) == ("handed_back", "media_poll"):
                continue
            service, since, until = _service(entry), _seconds(entry["from"]), _seconds(entry["to"])
            if not evidence.ledger.explain(service, since, until):
                how = f"{entry['ended']} of {entry['worker_id']} from {entry['from']} to {entry['to']}"
                yield f"{claim['kind']} {claim['job']}: {how}"


def processes_end_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """No process ends by itself."""
    for name, code, at in evidence.exits:
        if not evidence.ledger.explain(name, at - ENDING_SECONDS, at):
            yield f"{name} ended with {code}"


def votes_are_seen(evidence: Evidence) -> Iterator[str]:
    """An inspection has looked at every vote."""
    for row in evidence["votes"]:
        if (row["seen"] or 0) < row["votes"]:
            yield f"{row['seen']} of {row['votes']} votes of battle {row['battle_id']} were looked at"


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


CHECKS: tuple[Check, ...] = (
    everything_has_ended,
    nothing_accepted_is_lost,
    ends_are_right,
    results_are_there_once,
    battles_are_opened_once,
    webhooks_are_delivered_once,
    answers_are_of_the_newest_attempt,
    calls_are_repeated_for_a_reason,
    media_are_ordered_once,
    messages_are_sent_once,
    attempts_end_for_a_reason,
    processes_end_for_a_reason,
    votes_are_seen,
    no_passage_is_left,
    sessions_are_few_and_free,
    all_workers_are_back,
)


def _service(row: Row) -> str:
    """The service of a worker id, which ends with the process's number."""
    return str(row["worker_id"]).partition(":")[0]


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
