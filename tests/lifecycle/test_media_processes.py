"""What a dying worker costs: an order for media is paid for once, wherever the worker dies."""

from __future__ import annotations

from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run
from app.local.provider_server import ProviderServer
from tests.lifecycle.processes import Fleet
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle


def queue_video(connection: Connection) -> UUID:
    return enqueue_lens_run(connection, model="sora-2.0", inputs={"prompt": "a red kite"})


def end_of(connection: Connection, run: UUID) -> str:
    found = "SELECT concat_ws(' ', status, error_code) FROM execution.runs WHERE id = %s"
    return eventually(
        lambda: (said := str(call(connection, found, run))) not in {"queued", "running"} and said,
        what="the run's end",
    )


def test_a_worker_that_is_killed_while_a_video_renders_costs_no_second_order(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.media.plan("sora-2", ["pending"])
    doomed = workers.start(ASYNC_MEDIA_POLL_INTERVAL_MS="50")
    run = queue_video(connection)
    provider.media.wait_for_polls(2, timeout=20)
    doomed.kill()
    provider.media.plan("sora-2", ["done"])
    workers.start()
    assert end_of(connection, run) == "succeeded"
    assert len(provider.calls) == 1
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == 1


def test_a_worker_that_is_killed_while_it_orders_costs_no_second_order(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    doomed = workers.start()
    run = queue_video(connection)
    provider.wait_for_calls(1)
    doomed.kill()
    workers.start()
    assert end_of(connection, run) == "failed provider.submission_unknown"
    assert len(provider.calls) == 1
    assert call(connection, "SELECT state FROM worker.media_tasks") == "unknown"
