from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.connections import connect_account
from app.local.platform import Seeded
from app.local.services.server import ServiceServer
from tests.integration.services.cases import CASES, token_of


@pytest.fixture
def services(configure: Callable[..., None]) -> Iterator[ServiceServer]:
    with ServiceServer() as server:
        configure(**server.environment())
        server.tokens |= {token_of(case.ref, server) for case in CASES}
        yield server


@pytest.fixture
def database(
    services: ServiceServer, jobs_database: Database, seeded: Seeded, connection: Connection
) -> Database:
    """The worker's pool, on a platform on which a seeded person has connected every service."""
    scopes = {case.ref: set[str]() for case in CASES}
    for case in CASES:
        scopes[case.ref] |= set(case.scopes)
    for ref, granted in scopes.items():
        connect_account(connection, ref, token_of(ref, services), sorted(granted))
    return jobs_database
