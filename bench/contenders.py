"""The two brokers that are compared: dramatiq-pg as it comes, and ours, each in a database of its own."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from dramatiq_pg import generate_init_sql

from app.migrations import migrate
from bench.brokers import OURS, STOCK
from bench.server import BenchServer, fetch_value, open_session

__all__ = ["OURS", "STOCK", "Contender", "make_contender"]

#: Both tables take these rows; the message is what Dramatiq encodes for an actor without arguments.
_FILL = """
    INSERT INTO dramatiq.queue (message_id, queue_name, state, message)
    SELECT id, queue, 'queued', jsonb_build_object(
        'queue_name', queue, 'actor_name', %(actor)s || '_' || queue, 'args', '[]'::jsonb,
        'kwargs', %(kwargs)s::jsonb, 'options', '{}'::jsonb, 'message_id', id,
        'message_timestamp', floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    FROM (SELECT gen_random_uuid() AS id, (%(queues)s::text[])[1 + n %% %(spread)s] AS queue
          FROM generate_series(1, %(count)s) AS n) AS messages
"""


@dataclass(frozen=True)
class Contender:
    """One broker's name and a database that is ready for it."""

    name: str
    database: str
    dsn: str

    def fill(self, count: int, queues: list[str], actor: str = "noop", kwargs: str = "{}") -> None:
        """Queue messages at once, spread evenly over the queues, as a backlog that nobody is told of."""
        values = {
            "count": count,
            "queues": queues,
            "spread": len(queues),
            "actor": actor,
            "kwargs": kwargs,
        }
        with closing(open_session(self.dsn)) as session, session.cursor() as row:
            row.execute(_FILL, values)
            row.execute("ANALYZE dramatiq.queue")

    def warm_up(self, processes: int, threads: int, queues: list[str]) -> None:
        """Queue so many short naps that no process can do all of them before the last one has booted."""
        self.fill(processes * threads * 4, queues, actor="nap", kwargs='{"seconds": 0.25}')

    def unfinished(self) -> int:
        """How many messages are waiting or held."""
        return int(
            fetch_value(self.dsn, "SELECT count(*) FROM dramatiq.queue WHERE state IN ('queued', 'consumed')")
        )


def make_contender(server: BenchServer, name: str) -> Contender:
    """A contender with an empty table."""
    database = f"bench_{name}"
    dsn = server.create_database(database)
    if name == OURS:
        migrate(dsn, platform=True)
    else:
        with closing(open_session(dsn)) as session, session.cursor() as row:
            row.execute(generate_init_sql())
    return Contender(name, database, dsn)
