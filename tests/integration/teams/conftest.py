from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.teams import TEAM_OF_THREE, SeededTeam, make_team
from tests.integration.conftest import running_worker


@pytest.fixture
def provider(provider: ProviderServer, configure: Callable[..., None]) -> ProviderServer:
    configure(ANTHROPIC_API_KEY="sk-ant-planted-0123456789")
    return provider


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.team_runs"):
        yield


@pytest.fixture
def team(connection: Connection, seeded: Seeded) -> SeededTeam:
    """Lena leads, Emil works, Rosa reviews; each has a model of its own."""
    return make_team(connection, TEAM_OF_THREE)
