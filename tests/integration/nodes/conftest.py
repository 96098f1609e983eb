from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.database import Database
from app.local.services.mail_server import MailServer
from app.local.services.messengers import Messengers
from tests.integration.nodes.world import Node

Make = Callable[..., Node]


@pytest.fixture
def messengers(configure: Callable[..., None]) -> Iterator[Messengers]:
    """Slack, Discord, Telegram and Resend, and whatever else a test asks of a web server."""
    with Messengers() as running:
        configure(
            **running.environment(),
            WORKER_OUTBOUND_ALLOWED_HOSTS="127.0.0.1,localhost",
            WORKER_MAIL_FROM="LenserFight <no-reply@lenserfight.example>",
        )
        yield running


@pytest.fixture
def mail_server(messengers: Messengers, configure: Callable[..., None]) -> Iterator[MailServer]:
    with MailServer() as server:
        configure(WORKER_SMTP_URL=server.url)
        yield server


@pytest.fixture
def make(messengers: Messengers, jobs_database: Database) -> Make:
    def build(node_type: str, **settings: Any) -> Node:
        return Node(jobs_database, node_type, **settings)

    return build
