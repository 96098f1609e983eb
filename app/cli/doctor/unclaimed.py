"""Check of runs that wait for a worker, and that no worker will ever claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.cli.doctor.finding import Finding, Level, Patient

#: A person's browser may still be about to begin with what is younger.
LATE_MINUTES = 10
#: How many ids of a sort are named.
MOST_NAMED = 5


@dataclass(frozen=True)
class _Sort:
    """Rows that are stuck in one way: their table, a condition on `r`, what is so, why, and what mends it."""

    table: str
    condition: str
    what: str
    why: str
    mend: str


_SORTS = (
    _Sort(
        "lenses.workflow_runs",
        # A browser writes down what its nodes do; the status of its run stays as it is until the end.
        "r.status = 'pending' AND r.trigger_mode IN ('manual', 'subflow') AND NOT EXISTS ("
        "SELECT FROM lenses.workflow_node_results n WHERE n.run_id = r.id AND n.status <> 'pending')"
        " AND NOT EXISTS (SELECT FROM agents.team_runs t WHERE t.workflow_run_id = r.id)",
        "workflow runs are pending, of a mode that only a browser executes, and none is at them",
        "a retry through MCP or an automation made them, or a browser was closed: workers leave them alone",
        "UPDATE lenses.workflow_runs r SET status = 'queued' WHERE r.id = '{id}'"
        " has the worker execute one; cancel the others",
    ),
    _Sort(
        "lenses.workflow_runs",
        "r.status = 'pending_approval' AND NOT EXISTS ("
        "SELECT FROM agents.team_runs t WHERE t.workflow_run_id = r.id)",
        "workflow runs wait for an approval that nobody can give: no team run belongs to them",
        "their schedule asks for approval and has no agent that is responsible for it",
        "UPDATE lenses.workflow_runs r SET status = 'queued' WHERE r.id = '{id}' approves one;"
        " give the schedule an assignee, or turn its approval off",
    ),
    _Sort(
        "agents.team_runs",
        "r.status = 'queued' AND r.approval_status NOT IN ('not_required', 'approved')",
        "team runs are queued without the approval that they need",
        "a retry of the platform makes them so, and shows nobody that there is something to approve",
        "UPDATE agents.team_runs r SET approval_status = 'approved' WHERE r.id = '{id}'",
    ),
    _Sort(
        "agents.team_runs",
        "r.status = 'running' AND r.workflow_run_id IS NULL AND NOT EXISTS ("
        "SELECT FROM worker.claims c WHERE c.kind = 'team_run' AND c.job = r.id AND c.finished_at IS NULL)",
        "team runs are running, and not with us",
        "they were made as running ones, which no worker claims",
        "UPDATE agents.team_runs r SET status = 'queued', approval_status = 'approved' WHERE r.id = '{id}'",
    ),
    _Sort(
        "execution.runs",
        "r.status = 'queued' AND NOT (r.is_active AND EXISTS ("
        "SELECT FROM execution.requests q WHERE q.id = r.request_id AND q.is_active))",
        "lens runs are queued and switched off, or their requests are",
        "no worker claims what is switched off",
        "UPDATE execution.runs r SET is_active = true WHERE r.id = '{id}', and its request likewise",
    ),
    _Sort(
        "execution.runs",
        "r.status = 'running' AND r.is_async AND NOT EXISTS ("
        "SELECT FROM worker.media_tasks t WHERE t.job = r.id AND t.ended_at IS NULL) AND NOT EXISTS ("
        "SELECT FROM execution.requests q JOIN ai.models m ON m.id IN (q.model_id, r.model_id)"
        " JOIN ai.providers p ON p.id = m.provider_id WHERE q.id = r.request_id)",
        "media runs are at a provider, and name no model: it isn't known whom to ask for them",
        "they are never fetched, though they may have been paid for",
        "UPDATE execution.runs r SET model_id = '…' WHERE r.id = '{id}'",
    ),
    _Sort(
        "execution.runs",
        "r.status = 'running' AND r.is_async AND r.provider_task_id IS NULL AND NOT EXISTS ("
        "SELECT FROM worker.media_tasks t WHERE t.job = r.id AND t.ended_at IS NULL)",
        "media runs are running without a task at a provider",
        "who started them ended before it could write down what the provider calls them",
        "look for them at the provider, then have them done again:"
        " UPDATE execution.runs r SET status = 'queued', is_async = false WHERE r.id = '{id}'",
    ),
)


def check_unclaimed(patient: Patient) -> Iterator[Finding]:
    """Every run that waits is one that some worker may claim."""
    quiet = True
    for sort in _SORTS:
        rows = patient.rows(
            f"SELECT r.id, count(*) OVER () AS runs FROM {sort.table} r"  # noqa: S608 - words of this module
            f" WHERE r.created_at < now() - {LATE_MINUTES} * interval '1 minute' AND {sort.condition}"
            f" ORDER BY r.created_at DESC LIMIT {MOST_NAMED}"
        )
        if rows:
            quiet = False
            ids = ", ".join(str(row["id"]) for row in rows)
            more = f" and {rows[0]['runs'] - len(rows)} more" if rows[0]["runs"] > len(rows) else ""
            yield Finding(
                "unclaimed",
                Level.WARNING,
                f"{rows[0]['runs']} {sort.what}: {ids}{more}",
                sort.why,
                sort.mend.format(id=rows[0]["id"]),
            )
    if quiet:
        yield Finding("unclaimed", Level.FINE, "every run that waits can be claimed")
