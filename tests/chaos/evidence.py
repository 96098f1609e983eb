"""What is left in the database and outside of it when all is done, gathered for the checks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from app.local.media_progress import Item
from tests.chaos.crew import Crew
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.outside import Asked, Posted, Providers, Receivers

Row = dict[str, Any]

#: Table of the evidence -> the query that it is.
QUERIES = {
    "lens_runs": """
        SELECT r.id, r.status, r.error_code, r.response_text AS answer,
               q.input_snapshot ->> 'prompt' AS prompt, q.requester_lenser_id::text AS owner,
               (SELECT count(*) FROM execution.artifacts a WHERE a.run_id = r.id) AS results
        FROM execution.runs r JOIN execution.requests q ON q.id = r.request_id""",
    "battle_jobs": """
        SELECT j.id, j.status, d.error_code, s.content_text AS answer, b.task_prompt AS prompt,
               b.id AS battle_id, b.status AS battle_status,
               (SELECT count(*) FROM battles.submissions a
                WHERE a.contender_id = j.contender_id) AS results
        FROM battles.battle_execution_jobs j JOIN battles.battles b ON b.id = j.battle_id
        LEFT JOIN battles.submissions s ON s.contender_id = j.contender_id
        LEFT JOIN battles.battle_execution_dead_letters d ON d.job_id = j.id""",
    "openings": """
        SELECT e.battle_id, count(*) AS openings FROM battles.events e
        WHERE e.event_type = 'status_change' AND e.metadata ->> 'to' = 'voting' GROUP BY e.battle_id""",
    "workflow_runs": """
        SELECT r.id, r.status, r.context_inputs ->> 'name' AS topic,
               r.metadata #>> '{result,error,code}' AS error_code
        FROM lenses.workflow_runs r""",
    "nodes": """
        SELECT s.run_id, n.label, s.status, s.error_message AS error, s.output_data::text AS answer,
               (SELECT count(*) FROM lenses.workflow_run_events e WHERE e.run_id = s.run_id
                AND e.type = 'node.completed' AND e.payload ->> 'nodeId' = s.node_id::text) AS completions
        FROM lenses.workflow_node_results s JOIN lenses.workflow_nodes n ON n.id = s.node_id""",
    "team_runs": """
        SELECT t.id, t.status, t.metadata #>> '{inputs,task}' AS prompt,
               t.metadata #>> '{result,error,code}' AS error_code,
               (SELECT count(*) FROM agents.agent_run_steps s WHERE s.team_run_id = t.id) AS steps,
               (SELECT count(*) FROM agents.team_messages m WHERE m.team_run_id = t.id) AS messages
        FROM agents.team_runs t""",
    "webhooks": """
        SELECT o.id, o.delivered_at, o.dead_lettered_at, o.attempts, o.last_error, d.state,
               (SELECT count(*) FROM worker.webhook_attempts a WHERE a.outbox_id = o.id) AS recorded,
               (SELECT count(*) FROM worker.webhook_attempts a
                WHERE a.outbox_id = o.id AND a.status BETWEEN 200 AND 299) AS successes
        FROM audit.webhook_outbox o LEFT JOIN worker.webhook_deliveries d ON d.outbox_id = o.id""",
    "claims": """
        SELECT c.message_id, c.kind, c.job, c.worker_id, c.attempt, c.deaths, c.errors, c.state, c.outcome,
               c.error_code, c.history, extract(epoch FROM c.claimed_at)::float AS claimed_at
        FROM worker.claims c""",
    "votes": """
        SELECT v.battle_id, count(*) AS votes,
               (SELECT i.votes_seen FROM worker.vote_inspections i WHERE i.battle_id = v.battle_id) AS seen
        FROM battles.votes v GROUP BY v.battle_id""",
    "voters": "SELECT v.voter_lenser_id AS id FROM battles.votes v",
    "sessions": """
        SELECT a.application_name AS name, a.state, a.wait_event,
               extract(epoch FROM clock_timestamp() - a.state_change)::float AS seconds
        FROM pg_stat_activity a WHERE a.application_name LIKE 'lf-worker%'""",
    "passages": """
        SELECT p.ticket, p.provider, p.model, p.taken_at::text, p.expires_at::text, to_jsonb(c) AS claim
        FROM worker.passages p LEFT JOIN worker.claims c ON c.message_id = p.ticket""",
    "budgets": "SELECT s.owner, s.limit_usd, s.spent_usd, s.held_usd FROM worker.budget_status() AS s",
    "open_holds": """
        SELECT h.ticket, h.owner, h.model, h.usd, extract(epoch FROM h.taken_at)::float AS taken_at
        FROM worker.budget_holds h WHERE h.settled_at IS NULL""",
    "prices": """
        SELECT p.provider, p.model, p.usd_per_million_input, p.usd_per_million_output
        FROM worker.prices_at(now()) AS p WHERE p.usd_per_million_output IS NOT NULL""",
    "leases": "SELECT p.worker_id FROM worker.processes p WHERE p.lease_until > now()",
    "messages": """
        SELECT q.queue_name, q.state::text, q.message ->> 'actor_name' AS actor FROM dramatiq.queue q
        WHERE q.queue_name <> 'sweeps' OR q.state = 'rejected'""",
}


@dataclass(frozen=True)
class Evidence:
    """All that the checks look at; `tables` has the rows of `QUERIES`."""

    ledger: Ledger
    tables: dict[str, list[Row]]
    accepted: dict[str, list[UUID]]
    asked: list[Asked]
    items: list[Item]
    posted: list[Posted]
    messages: list[str]
    exits: list[tuple[str, int, float]]
    left: dict[str, int]
    seconds: float

    @staticmethod
    def gather(
        session: Connection,
        *,
        ledger: Ledger,
        load: Load,
        providers: Providers,
        receivers: Receivers,
        messages: list[str],
        crew: Crew,
        left: dict[str, int],
        seconds: float,
    ) -> Evidence:
        """Look at everything."""
        return Evidence(
            ledger=ledger,
            tables={name: _rows(session, query) for name, query in QUERIES.items()},
            accepted=load.accepted,
            asked=list(providers.asked),
            items=list(providers.media.items.values()),
            posted=list(receivers.posted),
            messages=messages,
            exits=crew.exits,
            left=left,
            seconds=seconds,
        )

    def __getitem__(self, table: str) -> list[Row]:
        return self.tables[table]

    def questions(self) -> dict[tuple[str, str, str | None], list[Asked]]:
        """The requests to providers by what was asked, in order."""
        found: dict[tuple[str, str, str | None], list[Asked]] = defaultdict(list)
        for asked in self.asked:
            found[asked.question].append(asked)
        return found

    def spoiled(self, topic: str) -> int:
        """How many requests about a topic were spoiled."""
        return sum(asked.spoiled is not None for asked in self.asked if speaks_of(asked.prompt, topic))


def speaks_of(text: str, topic: str) -> bool:
    """Whether a text speaks of this topic, and not of one whose name begins alike."""
    _, found, rest = text.partition(topic)
    return bool(found) and (not rest[:1].isdigit() or speaks_of(rest, topic))


def _rows(session: Connection, query: str) -> list[Row]:
    with session.cursor(cursor_factory=RealDictCursor) as found:
        found.execute(query)
        return [dict(row) for row in found.fetchall()]


def service_of(row: Row) -> str:
    """The service of a worker id, which ends with the process's number."""
    return str(row["worker_id"]).partition(":")[0]


def seconds_of(timestamp: str) -> float:
    """The Unix time of a timestamp in a claim's history."""
    return datetime.fromisoformat(timestamp).timestamp()
