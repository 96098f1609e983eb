"""The two brokers that are compared: dramatiq-pg as it comes, and ours, each in a database of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dramatiq import Middleware
from dramatiq.broker import Broker
from dramatiq.middleware import AgeLimit, Callbacks, Pipelines, Retries, ShutdownNotifications, TimeLimit
from dramatiq_pg import PostgresBroker, generate_init_sql

from app.broker import LeaseBroker, QueuePolicy
from app.database import Database
from app.migrations import migrate
from app.settings import load_settings
from bench.server import BenchServer, fetch_value, open_session

STOCK = "stock"
OURS = "ours"

#: Both tables take these rows; the message is what Dramatiq encodes for an actor without arguments.
_FILL = """
    INSERT INTO dramatiq.queue (message_id, queue_name, state, message)
    SELECT id, queue, 'queued', jsonb_build_object(
        'queue_name', queue, 'actor_name', %(actor)s || '_' || queue, 'args', '[]'::jsonb,
        'kwargs', %(kwargs)s::jsonb, 'options', '{}'::jsonb, 'message_id', id,
        'message_timestamp', floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
    FROM (SELECT gen_random_uuid() AS id, %(queues)s[1 + n %% cardinality(%(queues)s)] AS queue
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
        session = open_session(self.dsn)
        with session.cursor() as row:
            row.execute(_FILL, {"count": count, "queues": queues, "actor": actor, "kwargs": kwargs})
            row.execute("ANALYZE dramatiq.queue")
        session.close()

    def unfinished(self) -> int:
        """How many messages are waiting or held."""
        return int(
            fetch_value(
                self.dsn, "SELECT count(*) FROM dramatiq.queue WHERE state IN ('queued', 'consumed')"
            )
        )


def make_contender(server: BenchServer, name: str) -> Contender:
    """A contender with an empty table."""
    database = f"bench_{name}"
    dsn = server.create_database(database)
    if name == OURS:
        migrate(dsn, platform=True)
    else:
        session = open_session(dsn)
        with session.cursor() as row:
            row.execute(generate_init_sql())
        session.close()
    return Contender(name, database, dsn)


def build_broker(name: str, dsn: str, policies: dict[str, QueuePolicy] | None = None) -> Broker:
    """A broker with its own defaults, and with the same middleware as the other."""
    if name == STOCK:
        return PostgresBroker(url=dsn, results=False, middleware=_middleware())
    configured = load_settings(database_url=dsn)
    pool = Database(
        dsn,
        max_connections=configured.database_pool_max_connections,
        wait_seconds=configured.database_pool_wait_seconds,
    )
    return LeaseBroker(pool, configured, policies=policies, middleware=_middleware())


def _middleware() -> Iterable[Middleware]:
    return [AgeLimit(), TimeLimit(), ShutdownNotifications(), Callbacks(), Pipelines(), Retries()]
