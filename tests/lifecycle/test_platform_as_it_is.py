"""Every kind of work through the Procfile's own processes, on the platform as it is today.

Its owner is no superuser, and it has its faults. The release step migrates it; the work is the demo's, whose
scenarios check what each job should have left behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.cli.demo.battle_sweeps import Finalizing, Promotion
from app.cli.demo.battles import Battles
from app.cli.demo.lens_runs import LensRuns
from app.cli.demo.media import Media
from app.cli.demo.post import Post
from app.cli.demo.runner import demo_environment
from app.cli.demo.scenario import Scenario, Summary
from app.cli.demo.votes import VoteInspections
from app.cli.demo.webhooks import Webhooks
from app.cli.demo.workflows import WORKFLOW_ENVIRONMENT, Workflows
from app.local.platform import seed
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.local.storage_server import StorageServer
from tests.databases import OWNER, Databases, connect_as_worker
from tests.sql import LISTENING, call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle


@pytest.fixture
def storage() -> Iterator[StorageServer]:
    with StorageServer() as server:
        yield server


@pytest.fixture
def post(storage: StorageServer) -> Iterator[Post]:
    with Post(storage) as servers:
        yield servers


@pytest.fixture
def stack(
    databases: Databases, storage: StorageServer, post: Post, provider: ProviderServer, tmp_path: Path
) -> Iterator[tuple[Stack, Connection]]:
    with databases.platform("faulty") as dsn:
        environment = {
            **demo_environment(dsn, provider),
            **storage.environment(),
            **post.environment(),
            **WORKFLOW_ENVIRONMENT,
        }
        seed(dsn)
        with (
            Stack(tmp_path, environment, directory=tmp_path) as running,
            closing(connect_as_worker(dsn)) as session,
        ):
            eventually(lambda: call(session, LISTENING), what="the realtime process")
            yield running, session


def test_every_kind_of_work_is_done_for_an_owner_that_is_no_superuser(
    stack: tuple[Stack, Connection], storage: StorageServer, post: Post, provider: ProviderServer
) -> None:
    running, session = stack
    assert call(session, "SELECT current_user") == OWNER
    assert not call(session, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    scenarios: list[Scenario] = [
        LensRuns(),
        Battles(),
        Media(storage),
        Promotion(),
        Finalizing(),
        Webhooks(),
        VoteInspections(),
        Workflows(lambda _line: None, post),
    ]
    for scenario in scenarios:
        scenario.queue(session, provider)
    summary = Summary()

    def have_ended() -> bool:
        running.check()
        summary.tallies = {scenario.kind: scenario.poll(session) for scenario in scenarios}
        return summary.has_ended

    eventually(have_ended, within_seconds=90, what="the end of every job")
    assert summary.surprises == []
    assert summary.ok
