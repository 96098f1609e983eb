"""The faults of chaos that are done to the database do what they say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.claims import open_claim
from app.database import Database
from app.errors import DatabaseAway
from app.local.platform import Seeded, enqueue_lens_run
from tests.chaos import database_faults
from tests.chaos.database_faults import kill_endings, sessions_opened_since, setting
from tests.databases import Databases
from tests.sql import call
from tests.waiting import eventually

AMBUSHED = "SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND granted AND relation = %s::regclass"


def test_a_session_is_killed_between_the_end_of_its_claim_and_the_result(
    jobs_database: Database,
    connection: Connection,
    seeded: Seeded,
    dsn: str,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_faults, "RESULT_TABLES", ("execution.runs",))
    monkeypatch.setattr(database_faults, "AMBUSH_SECONDS", 60.0)
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    _, claim = open_claim(jobs_database, uuid4(), "lens_run", "host:1", hint=run, max_deaths=3)
    assert claim is not None
    claim.patience_seconds = 0.0
    with ThreadPoolExecutor(1) as aside:
        killed = aside.submit(kill_endings, databases.superuser_dsn(dsn))
        eventually(lambda: call(connection, AMBUSHED, "execution.runs"), what="the ambush")
        with pytest.raises(DatabaseAway) as told:
            claim.finish(
                lambda tx: tx.execute("UPDATE execution.runs SET status = 'succeeded' WHERE id = %s", (run,))
            )
        assert told.value.sqlstate in ("57P01", None)
        assert killed.result() == 1
    assert call(connection, "SELECT finished_at FROM worker.claims") is None
    assert call(connection, "SELECT status FROM execution.runs WHERE id = %s", run) == "running"


def test_nobody_is_killed_who_writes_no_result(
    dsn: str, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_faults, "AMBUSH_SECONDS", 0.1)
    assert kill_endings(databases.superuser_dsn(dsn)) == 0


def test_a_setting_holds_for_sessions_that_begin_meanwhile_and_for_none_after(
    jobs_database: Database, dsn: str, databases: Databases
) -> None:
    before = jobs_database.call("SELECT pg_backend_pid() AS pid, extract(epoch FROM now())::float AS at")[0]
    with setting(databases.superuser_dsn(dsn), "default_transaction_isolation", "serializable") as session:
        with closing(psycopg2.connect(dsn)) as another:
            assert call(another, "SHOW transaction_isolation") == "serializable"
        assert sessions_opened_since(session, before["at"]) == set()
        after = jobs_database.call("SELECT pg_backend_pid() AS pid")[0]
        assert after["pid"] != before["pid"]
        assert sessions_opened_since(session, before["at"]) == {after["pid"]}
    with closing(psycopg2.connect(dsn)) as another:
        assert call(another, "SHOW transaction_isolation") == "read committed"
