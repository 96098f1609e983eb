"""A worker with the webhook actor on a test's own database, and a receiver that it may send to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.receiver import Receiver
from tests.integration.conftest import running_worker
from tests.integration.webhooks.rows import execute
from tests.sql import call

SECRET = "a-platform-secret-of-some-length"


@pytest.fixture
def receiver(configure: Callable[..., None]) -> Iterator[Receiver]:
    configure(
        WORKER_OUTBOUND_ALLOWED_HOSTS="127.0.0.0/8",
        WORKER_WEBHOOK_RETRY_DELAYS_SECONDS="0.05,0.05,0.05",
        WORKER_WEBHOOK_TIMEOUT_MS="3000",
    )
    with Receiver() as server:
        yield server


@pytest.fixture
def platform_secret(superuser: Connection) -> str:
    """The platform's signing secret; sessions that are opened from now on know it."""
    name = call(superuser, "SELECT current_database()")
    execute(superuser, f'ALTER DATABASE "{name}" SET app.webhook_signing_secret = %s', SECRET)
    return SECRET


@pytest.fixture
def worker(receiver: Receiver, broker: LeaseBroker) -> Iterator[None]:
    with running_worker(broker, "actors.webhooks", threads=8):
        yield
