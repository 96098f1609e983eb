"""Hints from the database's own notifications, and what makes up for those that get lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.database import Database
from app.local.votes import Ballot, cast
from app.settings import settings
from realtime.postgres_feed import PostgresFeed
from realtime.service import choose_feed
from realtime.supabase_feed import SupabaseFeed
from tests.doubles.poolers import deaf_proxy
from tests.integration.conftest import running_worker
from tests.integration.realtime_process import serving
from tests.integration.vote_rows import trigger_workflow, voting_battle
from tests.sql import LISTENING, call
from tests.waiting import eventually


@pytest.fixture
def battle(connection: Connection) -> UUID:
    return voting_battle(connection)


@pytest.fixture
def worker(broker: LeaseBroker, battle: UUID) -> Iterator[None]:
    with running_worker(broker, "actors.votes"):
        yield


def seen(session: Connection) -> int:
    return int(call(session, "SELECT coalesce(sum(votes_seen), 0) FROM worker.vote_inspections"))


def test_a_vote_is_inspected_at_once(
    worker: None, connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    with serving(PostgresFeed(dsn), jobs_database):
        eventually(lambda: call(connection, LISTENING))
        cast(connection, battle, [Ballot(known=False)])
        eventually(lambda: seen(connection) == 1)


def test_a_change_of_status_begins_workflows_at_once(
    connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    trigger_workflow(connection)
    with serving(PostgresFeed(dsn), jobs_database):
        eventually(lambda: call(connection, LISTENING))
        call(connection, "UPDATE battles.battles SET status = 'scoring' WHERE id = %s RETURNING 1", battle)
        eventually(lambda: call(connection, "SELECT count(*) FROM lenses.workflow_runs") == 1)


def test_what_happens_between_two_sessions_is_found_on_the_next_one(
    worker: None, connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    with serving(PostgresFeed(dsn), jobs_database):
        for count in range(1, 6):
            eventually(lambda: call(connection, LISTENING))
            call(
                connection,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'lf-worker realtime' AND datname = current_database()",
            )
            cast(connection, battle, [Ballot(known=False)])
            eventually(lambda: seen(connection) == count)  # noqa: B023


def test_a_session_that_hears_nothing_is_made_up_for_by_the_clock(
    worker: None, connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    with deaf_proxy(dsn) as deaf, serving(PostgresFeed(deaf), jobs_database, catch_up_seconds=0.5):
        eventually(lambda: call(connection, LISTENING))
        cast(connection, battle, [Ballot(known=False)])
        eventually(lambda: seen(connection) == 1)


def test_a_notification_of_something_else_does_no_harm(
    worker: None, connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    with serving(PostgresFeed(dsn), jobs_database):
        eventually(lambda: call(connection, LISTENING))
        call(connection, "SELECT pg_notify('lf_worker.votes', 'no battle')")
        cast(connection, battle, [Ballot(known=False)])
        eventually(lambda: seen(connection) == 1)


def test_realtime_is_the_source_where_it_is_configured(dsn: str, configure: Callable[..., None]) -> None:
    assert isinstance(choose_feed(settings()), PostgresFeed)
    configure(SUPABASE_URL="https://project.supabase.co", SUPABASE_SERVICE_ROLE_KEY="sb_secret_planted_0123")
    assert isinstance(choose_feed(settings()), SupabaseFeed)
    configure(WORKER_REALTIME_SOURCE="postgres")
    assert isinstance(choose_feed(settings()), PostgresFeed)
