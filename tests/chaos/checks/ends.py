"""Whether all that was accepted came to the end that it should have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.chaos.checks.budgets import is_used_up
from tests.chaos.evidence import Evidence, Row, speaks_of
from tests.chaos.outside import number_of

_PROVIDER_CODES = re.compile(r"provider\.|media\.|execute\.max_retries_exceeded")


def everything_has_ended(evidence: Evidence) -> Iterator[str]:
    """No job, claim, message, node, task or vote is left open."""
    for name, count in evidence.left.items():
        yield f"{count} {name} are left"


def nothing_accepted_is_lost(evidence: Evidence) -> Iterator[str]:
    """Whatever was committed is still there."""
    tables = {
        "lens_runs": ("text", "slow text", "rationed text", "thrifty text", "image", "video"),
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
            elif not _is_excused(evidence, row):
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


def _is_excused(evidence: Evidence, row: Row) -> bool:
    """A provider's failure is excused by one, poison and an order of unknown fate by a lost attempt,
    and a call that nobody can pay for by a budget that is used up.
    """
    code = row["error_code"]
    if code is None:
        return False
    if code == "worker.poison":
        return _was_cut(evidence, row["id"])
    if code == "budget.exceeded":
        return "owner" in row and is_used_up(evidence, row["owner"])
    if "submission" in code and _was_cut(evidence, row["id"]):
        return True
    return bool(_PROVIDER_CODES.match(code)) and evidence.spoiled(row["prompt"]) > 0


def _was_cut(evidence: Evidence, job: Any) -> bool:
    return any(claim["job"] == job and claim["attempt"] > 1 for claim in evidence["claims"])


def votes_are_seen(evidence: Evidence) -> Iterator[str]:
    """An inspection has looked at every vote."""
    for row in evidence["votes"]:
        if (row["seen"] or 0) < row["votes"]:
            yield f"{row['seen']} of {row['votes']} votes of battle {row['battle_id']} were looked at"
