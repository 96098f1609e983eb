"""Hints from the database's own notifications, and what makes up for those that get lost."""

from __future__ import annotations

import random
import time
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
from tests.sql import call
from tests.waiting import eventually


@pytest.fixture
def battle(connection: Connection) -> UUID:
    return voting_battle(connection)


@pytest.fixture
def worker(broker: LeaseBroker, battle: UUID) -> Iterator[None]:
    with running_worker(broker, "actors.votes"):
        yield


def seen(session: Connection, battle: UUID) -> int:
    found = call(session, "SELECT votes_seen FROM worker.vote_inspections WHERE battle_id = %s", battle)
    return int(found or 0)


def listener(session: Connection) -> int:
    """The server's process that serves the session which hears notifications, once there is one."""
    listening = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'lf-worker realtime'"
        " AND datname = current_database() AND query LIKE 'LISTEN%%'"
    )
    return int(eventually(lambda: call(session, listening), what="a session that listens"))


def test_a_vote_is_inspected_at_once(
    worker: None, connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    with serving(PostgresFeed(dsn), jobs_database):
        listener(connection)
        for count in (1, 2, 3):  # The look with which a session begins may find the first one.
            cast(connection, battle, [Ballot(known=False)])
            eventually(lambda: seen(connection, battle) == count)  # noqa: B023
    assert call(
        connection, "SELECT inspections >= 3 FROM worker.vote_inspections WHERE battle_id = %s", battle
    )


def test_a_change_of_status_begins_workflows_at_once(
    connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    workflow = str(trigger_workflow(connection))
    begun = (
        "SELECT json_agg(json_build_array(workflow_id, context_inputs ->> 'status') ORDER BY created_at)"
        " FROM lenses.workflow_runs"
    )
    expected = []
    with serving(PostgresFeed(dsn), jobs_database):
        listener(connection)
        for status in ("scoring", "closed", "published"):
            call(
                connection, "UPDATE battles.battles SET status = %s WHERE id = %s RETURNING 1", status, battle
            )
            expected.append([workflow, status])
            eventually(lambda: len(call(connection, begun) or []) == len(expected), what=status)
    assert call(connection, begun) == expected


def test_what_happens_between_two_sessions_is_found_on_the_next_one(
    worker: None, connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    with serving(PostgresFeed(dsn), jobs_database):
        for count in range(1, 6):
            lost = listener(connection)
            assert call(connection, "SELECT pg_terminate_backend(%s)", lost)
            cast(connection, battle, [Ballot(known=False)])
            eventually(lambda: seen(connection, battle) == count)  # noqa: B023
            eventually(lambda: listener(connection) != lost, what="the next session")  # noqa: B023
    assert seen(connection, battle) == 5


def test_a_session_that_hears_nothing_is_made_up_for_by_the_clock(
    worker: None, connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    with deaf_proxy(dsn) as deaf, serving(PostgresFeed(deaf), jobs_database, catch_up_seconds=0.5):
        listener(connection)
        cast(connection, battle, [Ballot(known=False)])
        eventually(lambda: seen(connection, battle), what="an inspection")
    assert seen(connection, battle) == 1


def test_a_notification_of_something_else_does_no_harm(
    worker: None, connection: Connection, jobs_database: Database, battle: UUID, dsn: str
) -> None:
    with serving(PostgresFeed(dsn), jobs_database):
        heard_by = listener(connection)
        call(connection, "SELECT pg_notify('lf_worker.votes', 'no battle')")
        cast(connection, battle, [Ballot(known=False)])
        eventually(lambda: seen(connection, battle), what="an inspection")
        assert listener(connection) == heard_by
    assert seen(connection, battle) == 1


def test_realtime_is_the_source_where_it_is_configured(dsn: str, configure: Callable[..., None]) -> None:
    assert isinstance(choose_feed(settings()), PostgresFeed)
    configure(SUPABASE_URL="https://project.supabase.co", SUPABASE_SERVICE_ROLE_KEY="sb_secret_planted_0123")
    assert isinstance(choose_feed(settings()), SupabaseFeed)
    configure(WORKER_REALTIME_SOURCE="postgres")
    assert isinstance(choose_feed(settings()), PostgresFeed)


def test_a_server_that_ends_each_session_at_once_is_asked_ever_more_seldom(
    connection: Connection, jobs_database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    with serving(PostgresFeed(dsn), jobs_database):
        began = time.monotonic()
        for _ in range(4):
            call(connection, "SELECT pg_terminate_backend(%s, 5000)", listener(connection))
        listener(connection)
        # The pauses are 0.1, 0.2, 0.4 and 0.8 s.
        assert time.monotonic() - began >= 1.5
