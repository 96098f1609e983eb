"""Endpoints on loopback addresses of their own, and rows of the outbox that go to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from psycopg2.extensions import connection

from app.local.receiver import Receiver

#: What workers need so that they may send to this machine.
ENVIRONMENT = {"WORKER_OUTBOUND_ALLOWED_HOSTS": "127.0.0.0/8"}

#: The host part of the first endpoint; each is another host, as slots are counted by host.
FIRST_HOST = 11


@contextmanager
def receivers(
    count: int, *, first: int = FIRST_HOST, latency_seconds: float = 0.0
) -> Iterator[list[Receiver]]:
    """So many endpoints, each a host of its own."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Receiver(host=f"127.0.0.{first + number}", latency_seconds=latency_seconds))
            for number in range(count)
        ]


def add_rows(session: connection, count: int, endpoints: Sequence[Receiver]) -> None:
    """Put equal rows for these endpoints, in turn, into the outbox with one statement."""
    with session.cursor() as tx:
        tx.execute(
            "INSERT INTO audit.webhook_outbox (event_type, payload, target_url)"
            " SELECT 'bench', jsonb_build_object('number', n), (%s::text[])[1 + n %% %s]"
            " FROM generate_series(1, %s) AS n",
            ([endpoint.url() for endpoint in endpoints], len(endpoints), count),
        )


def count_undelivered(session: connection, endpoints: Sequence[Receiver]) -> int:
    """Rows of these endpoints that are not delivered."""
    with session.cursor() as row:
        row.execute(
            "SELECT count(*) FROM audit.webhook_outbox WHERE delivered_at IS NULL AND target_url = ANY (%s)",
            ([endpoint.url() for endpoint in endpoints],),
        )
        (count,) = row.fetchone() or (0,)
    return int(count)
