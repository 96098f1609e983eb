"""Every kind of work through the Procfile's own processes, on the platform as it is today.

Its owner is no superuser, and it has its faults. The release step migrates it; the work is the demo's, whose
scenarios check what each job should have left behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2.errors import InsufficientPrivilege
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.cli.demo.battle_sweeps import Finalizing, Promotion
from app.cli.demo.battles import Battles
from app.cli.demo.lens_runs import LensRuns
from app.cli.demo.media import Media
from app.cli.demo.messages import Messages
from app.cli.demo.post import Post
from app.cli.demo.readiness import await_stack
from app.cli.demo.runner import demo_environment
from app.cli.demo.scenario import Scenario, Summary
from app.cli.demo.votes import VoteInspections
from app.cli.demo.webhooks import Webhooks, sign_platform_webhooks
from app.cli.demo.workflows import WORKFLOW_ENVIRONMENT, Workflows
from app.local.platform import seed
from app.local.provider_server import ProviderServer
from app.local.stack import Stack
from app.local.storage_server import StorageServer
from tests.databases import OWNER, Databases, connect_as_worker
from tests.sql import call
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


@dataclass
class World:
    """Everything that the work needs, but for the processes."""

    databases: Databases
    storage: StorageServer
    post: Post
    provider: ProviderServer
    folder: Path

    @contextmanager
    def stack(self, dsn: str) -> Iterator[Stack]:
        """The Procfile's processes, connecting by that DSN."""
        environment = {
            **demo_environment(dsn, self.provider),
            **self.storage.environment(),
            **self.post.environment(),
            **WORKFLOW_ENVIRONMENT,
        }
        with Stack(self.folder, environment, directory=self.folder) as running:
            yield running


@pytest.fixture
def world(
    databases: Databases, storage: StorageServer, post: Post, provider: ProviderServer, tmp_path: Path
) -> World:
    return World(databases, storage, post, provider, tmp_path)


def test_every_kind_of_work_is_done_for_an_owner_that_is_no_superuser(world: World) -> None:
    with world.databases.platform("faulty") as dsn:
        seed(dsn)
        sign_platform_webhooks(world.databases.superuser_dsn(dsn))
        with world.stack(dsn) as running, closing(connect_as_worker(dsn)) as session:
            assert call(session, "SELECT current_user") == OWNER
            assert not call(session, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            do_every_kind_of_work(world, running, session)


def test_every_kind_of_work_is_done_by_a_role_that_may_touch_no_table_of_the_platform(world: World) -> None:
    with world.databases.fresh("faulty") as dsn, world.databases.worker_role(dsn) as role_dsn:
        seed(dsn)
        sign_platform_webhooks(world.databases.superuser_dsn(dsn))
        with world.stack(role_dsn) as running, closing(connect_as_worker(dsn)) as session:
            do_every_kind_of_work(world, running, session)
            assert call(
                session,
                "SELECT bool_and(usename LIKE 'lf_worker%%') FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'lf-worker%%'",
            )
            with closing(connect_as_worker(role_dsn)) as theirs, pytest.raises(InsufficientPrivilege):
                call(theirs, "SELECT count(*) FROM execution.runs")


def do_every_kind_of_work(world: World, running: Stack, session: Connection) -> None:
    await_stack(session, running)
    scenarios: list[Scenario] = [
        LensRuns(),
        Battles(),
        Media(world.storage),
        Promotion(),
        Finalizing(),
        Webhooks(),
        VoteInspections(),
        Workflows(lambda _line: None),
        Messages(lambda _line: None, world.post),
    ]
    for scenario in scenarios:
        scenario.queue(session, world.provider)
    summary = Summary()

    def have_ended() -> bool:
        running.check()
        summary.tallies = {scenario.kind: scenario.poll(session) for scenario in scenarios}
        return summary.has_ended

    eventually(have_ended, within_seconds=90, what="the end of every job")
    assert summary.surprises == []
    assert summary.ok
