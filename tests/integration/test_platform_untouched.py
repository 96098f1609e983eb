"""`lf-worker migrate` leaves everything that is the platform's as it was, but for our triggers beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.binaries import find_binaries
from app.migrations import migrate, restore_triggers
from tests.databases import PROFILES, Databases, connect_as_worker
from tests.schema_dump import dump_platform, is_our_trigger

pytestmark = [
    pytest.mark.skipif(
        not Path(find_binaries().program("pg_dump")).exists(), reason="this PostgreSQL comes without pg_dump"
    ),
    pytest.mark.parametrize("platform_profile", PROFILES),
]


@pytest.fixture
def platform(databases: Databases, platform_profile: str) -> Iterator[str]:
    with databases.platform(platform_profile) as dsn:
        yield dsn


@pytest.fixture
def session(platform: str) -> Iterator[Connection]:
    with closing(connect_as_worker(platform)) as opened:
        yield opened


def ours_and_theirs(dsn: str) -> tuple[list[str], list[str]]:
    entries = dump_platform(dsn)
    return [e for e in entries if is_our_trigger(e)], [e for e in entries if not is_our_trigger(e)]


def test_migrating_adds_our_triggers_and_changes_nothing_else(platform: str) -> None:
    before = dump_platform(platform)
    assert len(before) > 500
    assert not any(map(is_our_trigger, before))
    migrate(platform)
    ours, theirs = ours_and_theirs(platform)
    assert theirs == before
    assert len(ours) >= 10
    assert migrate(platform) == []
    assert ours_and_theirs(platform) == (ours, theirs)


def test_restoring_triggers_changes_nothing_else(platform: str, session: Connection) -> None:
    migrate(platform)
    before = dump_platform(platform)
    row = session.cursor()
    row.execute("DROP TRIGGER lf_worker_ticket_inserted_runs ON execution.runs")
    row.execute("ALTER TABLE agents.team_runs DISABLE TRIGGER lf_worker_ticket_inserted_team_runs")
    assert len(restore_triggers(platform)) == 2
    assert dump_platform(platform) == before


def test_a_change_of_the_platform_would_be_seen(platform: str, session: Connection) -> None:
    before = dump_platform(platform)
    changes = {
        "GRANT SELECT ON execution.runs TO anon": "ACL",
        "CREATE INDEX surplus ON execution.runs (id)": "INDEX",
        "ALTER TABLE execution.runs ADD surplus integer": "TABLE",
        "ALTER FUNCTION public.fn_worker_claim_queued_run() RESET search_path": "FUNCTION",
        "ALTER PUBLICATION supabase_realtime ADD TABLE execution.runs": "PUBLICATION TABLE",
    }
    for statement, kind in changes.items():
        session.cursor().execute(statement)
        after = dump_platform(platform)
        assert any(f"Type: {kind};" in entry for entry in set(after) - set(before)), statement
        before = after
