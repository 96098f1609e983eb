"""What receivers of webhooks see when worker processes die or are deployed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.receiver import Receiver
from tests.lifecycle.processes import Fleet, fleet
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

UNDELIVERED = "SELECT count(*) FROM audit.webhook_outbox WHERE delivered_at IS NULL"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def senders(dsn: str, tmp_path: Path) -> Iterator[Fleet]:
    environment = {
        "DATABASE_URL": dsn,
        "WORKER_BROKER_LEASE_SECONDS": "3",
        "WORKER_OUTBOUND_ALLOWED_HOSTS": "127.0.0.0/8",
    }
    with fleet(environment, tmp_path / "workers.log") as started:
        yield started


def add_rows(connection: Connection, url: str, count: int) -> None:
    connection.cursor().execute(
        "INSERT INTO audit.webhook_outbox (event_type, payload, target_url)"
        " SELECT 'x', '{}', %s FROM generate_series(1, %s)",
        (url, count),
    )


def test_a_worker_killed_in_mid_delivery_loses_none_and_repeats_each_once_at_most(
    senders: Fleet, receiver: Receiver, connection: Connection
) -> None:
    receiver.hold()
    doomed = senders.start(threads=8)
    add_rows(connection, receiver.url(), 40)
    receiver.wait_for_requests(4)
    doomed.kill()
    senders.start(threads=8)
    receiver.release()
    eventually(lambda: call(connection, UNDELIVERED) == 0, what="every delivery")
    seen = Counter(request.id for request in receiver.requests)
    assert len(seen) == 40
    assert sorted(seen.values()) == [1] * 36 + [2] * 4
    assert receiver.max_in_flight <= 4
    with connection.cursor() as row:
        row.execute("SELECT deaths, count(*) FROM worker.claims GROUP BY deaths ORDER BY deaths")
        assert row.fetchall() == [(0, 36), (1, 4)]


def test_two_workers_together_keep_to_four_requests_and_send_each_row_once(
    senders: Fleet, receiver: Receiver, connection: Connection
) -> None:
    receiver.latency_seconds = 0.02
    for _ in range(2):
        senders.start(threads=8)
    add_rows(connection, receiver.url(), 200)
    eventually(lambda: call(connection, UNDELIVERED) == 0, what="every delivery")
    assert receiver.max_in_flight == 4
    assert len({request.id for request in receiver.requests}) == len(receiver.requests) == 200


def test_switched_off_nothing_is_sent(senders: Fleet, receiver: Receiver, connection: Connection) -> None:
    senders.start(PLATFORM_API_WEBHOOK_DRAIN_ENABLED="false")
    leases = "SELECT count(*) FROM worker.processes WHERE lease_until > now()"
    eventually(lambda: call(connection, leases) == 1, what="a worker")
    add_rows(connection, receiver.url(), 1)
    assert call(connection, "SELECT count(*) FROM dramatiq.queue WHERE state = 'queued'") == 1
    assert receiver.requests == []
