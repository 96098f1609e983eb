from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.local.provider_server import ProviderServer
from tests.lifecycle.processes import Fleet, fleet


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture
def workers(dsn: str, provider: ProviderServer, tmp_path: Path) -> Iterator[Fleet]:
    """Workers on the test's database and provider, with a lease short enough to wait for."""
    environment = {
        **provider.environment(),
        "DATABASE_URL": dsn,
        "OPENAI_API_KEY": "sk-lifecycle-planted-0123456789",
        "WORKER_BROKER_LEASE_SECONDS": "3",
        "WORKER_BROKER_STALL_SECONDS": "3",
        "WORKER_RETRY_MIN_BACKOFF_MS": "10",
    }
    with fleet(environment, tmp_path / "workers.log") as started:
        yield started
