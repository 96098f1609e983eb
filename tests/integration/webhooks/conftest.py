"""A worker with the webhook actor on a test's own database, and a receiver that it may send to."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.http import guarded_client
from app.local.receiver import Receiver
from app.settings import settings
from tests.integration.conftest import running_worker
from tests.integration.webhooks.rows import execute
from tests.sql import call

SECRET = "a-platform-secret-of-some-length"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("WORKER_OUTBOUND_ALLOWED_HOSTS", "127.0.0.0/8")
    monkeypatch.setenv("WORKER_WEBHOOK_RETRY_DELAYS_SECONDS", "0.05,0.05,0.05")
    monkeypatch.setenv("WORKER_WEBHOOK_TIMEOUT_MS", "3000")
    settings.cache_clear()
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
    guarded_client.cache_clear()
    # Importing it declares the actor, on the broker that is set now.
    sys.modules.pop("actors.webhooks", None)
    importlib.import_module("actors.webhooks")
    with running_worker(broker, threads=8):
        yield
    guarded_client.cache_clear()
