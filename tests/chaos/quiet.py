"""Whether there is anything left to be done."""

from __future__ import annotations

from psycopg2.extensions import connection as Connection  # noqa: N812

from tests.chaos.crew import PROCESSES, WORKERS

#: What is open -> how many there are.
OPEN = {
    "lens runs": "SELECT count(*) FROM execution.runs WHERE status IN ('queued', 'running')",
    "battle jobs": """
        SELECT count(*) FROM battles.battle_execution_jobs WHERE status NOT IN ('completed', 'failed')""",
    "battles": """
        SELECT count(*) FROM battles.battles b WHERE b.status IN ('open', 'executing')
        AND EXISTS (SELECT FROM battles.battle_execution_jobs j WHERE j.battle_id = b.id)""",
    "workflow runs": """
        SELECT count(*) FROM lenses.workflow_runs
        WHERE status NOT IN ('completed', 'failed', 'cancelled', 'timed_out')""",
    "workflow nodes": """
        SELECT count(*) FROM lenses.workflow_node_results
        WHERE status NOT IN ('completed', 'failed', 'skipped', 'cancelled', 'timed_out')""",
    "team runs": """
        SELECT count(*) FROM agents.team_runs WHERE status NOT IN ('completed', 'failed', 'cancelled')""",
    "webhooks": """
        SELECT count(*) FROM audit.webhook_outbox WHERE delivered_at IS NULL AND dead_lettered_at IS NULL""",
    "media tasks": """
        SELECT count(*) FROM worker.media_tasks
        WHERE state IN ('submitting', 'started', 'polling')""",
    "votes": """
        SELECT count(*) FROM (
            SELECT v.battle_id, count(*) AS votes FROM battles.votes v GROUP BY v.battle_id) AS cast_votes
        LEFT JOIN worker.vote_inspections i USING (battle_id)
        WHERE coalesce(i.votes_seen, 0) < cast_votes.votes""",
    "processes that are away": f"""
        SELECT {PROCESSES * len(WORKERS)} - count(*) FROM worker.processes WHERE lease_until > now()""",
    "claims": "SELECT count(*) FROM worker.claims WHERE finished_at IS NULL",
    # A tick of the scheduler may come at any time.
    "messages": """
        SELECT count(*) FROM dramatiq.queue WHERE queue_name <> 'sweeps' OR state = 'rejected'""",
}

_SWEEPS = (
    "add_missing_tickets",
    "reclaim_battle_jobs",
    "dispatch_webhook_outbox",
    "recover_runs",
    "tend_waiting_runs",
    "adopt_async_runs",
)


def what_is_open(session: Connection) -> dict[str, int]:
    """How much of what is left; empty when all is done."""
    left = {}
    with session.cursor() as row:
        for name, count in OPEN.items():
            row.execute(count)
            (found,) = row.fetchone() or (0,)
            if found:
                left[name] = int(found)
    return left


def describe_messages(session: Connection) -> list[str]:
    """The messages that are left, for people."""
    with session.cursor() as row:
        row.execute(
            "SELECT q.state || ' ' || q.mtime || ' ' || (q.message - 'message_id') FROM dramatiq.queue q"
            " WHERE q.queue_name <> 'sweeps' OR q.state = 'rejected' LIMIT 5"
        )
        return [str(text) for (text,) in row.fetchall()]


def describe_hindrances(session: Connection) -> list[str]:
    """What keeps calls to providers waiting, and what is taken of their limits, for people."""
    with session.cursor() as row:
        row.execute(
            "SELECT concat_ws(' ', h.provider, h.model, h.hindrance, h.waiting, h.seconds_left, h.error_code)"
            " FROM worker.hindrances h UNION ALL"
            " SELECT concat_ws(' ', b.provider, b.model, b.under_way, 'under way,', b.requests, 'left')"
            " FROM worker.buckets b"
        )
        return [str(text) for (text,) in row.fetchall()]


def hurry_sweeps(session: Connection) -> None:
    """Have the duties of the minute done now instead of at its end."""
    with session.cursor() as row:
        for name in _SWEEPS:
            row.execute("SELECT worker.enqueue(%s, '{\"off_timetable\": true}', 'sweeps')", (name,))
