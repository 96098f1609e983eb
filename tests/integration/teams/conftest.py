from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.teams import TEAM_OF_THREE, SeededTeam, make_team
from app.settings import settings
from tests.integration.conftest import running_worker


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_all(**environment: str) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    return set_all


@pytest.fixture
def provider(configure: Callable[..., None]) -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        configure(
            **server.environment(),
            OPENAI_API_KEY="sk-platform-planted-0123456789",
            ANTHROPIC_API_KEY="sk-ant-planted-0123456789",
            WORKER_RETRY_MIN_BACKOFF_MS="1",
            WORKER_RETRY_MAX_BACKOFF_MS="5",
            WORKER_WORKFLOW_HEARTBEAT_MS="100",
        )
        yield server


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    # Importing it declares the actor, on the broker that is set now.
    sys.modules.pop("actors.team_runs", None)
    importlib.import_module("actors.team_runs")
    with running_worker(broker):
        yield


@pytest.fixture
def team(connection: Connection, seeded: Seeded) -> SeededTeam:
    """Lena leads, Emil works, Rosa reviews; each has a model of its own."""
    return make_team(connection, TEAM_OF_THREE)
