"""The real process: it forwards, survives its database's restarts, and ends in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.votes import Ballot, cast
from tests.integration.vote_rows import trigger_workflow, voting_battle
from tests.lifecycle.processes import ROOT
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle


@contextmanager
def realtime(dsn: str, log_path: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "realtime"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": dsn, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(40)
        print(log_path.read_text())


WANTED = "SELECT count(*) FROM dramatiq.queue WHERE message ->> 'actor_name' = 'inspect_votes'"
LISTENS = (
    "SELECT array_agg(pid) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'lf-worker realtime' AND query LIKE 'LISTEN%%'"
)


def test_it_forwards_until_it_is_told_to_stop(dsn: str, connection: Connection, tmp_path: Path) -> None:
    battle = voting_battle(connection)
    trigger_workflow(connection)
    with realtime(dsn, tmp_path / "log") as process:
        eventually(lambda: call(connection, LISTENS))
        cast(connection, battle, [Ballot(known=False)])
        call(connection, "UPDATE battles.battles SET status = 'scoring' WHERE id = %s RETURNING 1", battle)
        eventually(lambda: call(connection, WANTED) == 1)
        eventually(lambda: call(connection, "SELECT count(*) FROM lenses.workflow_runs") == 1)
        ports = psutil.Process(process.pid).net_connections("tcp")
        assert not [port for port in ports if port.status == psutil.CONN_LISTEN]
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_what_happened_while_it_was_away_is_found_when_it_starts(
    dsn: str, connection: Connection, tmp_path: Path
) -> None:
    battle = voting_battle(connection)
    trigger_workflow(connection)
    cast(connection, battle, [Ballot(known=False)])
    call(connection, "UPDATE battles.battles SET status = 'scoring' WHERE id = %s RETURNING 1", battle)
    with realtime(dsn, tmp_path / "log"), realtime(dsn, tmp_path / "log"):
        eventually(lambda: call(connection, WANTED) == 1)
        eventually(lambda: len(call(connection, LISTENS) or []) == 2)
        eventually(lambda: call(connection, "SELECT count(*) FROM lenses.workflow_runs") == 1)
    assert call(connection, WANTED) == 1
    assert call(connection, "SELECT count(*) FROM worker.battle_dispatches") == 1


def test_kinds_that_are_switched_off_are_left_alone(dsn: str, connection: Connection, tmp_path: Path) -> None:
    battle = voting_battle(connection)
    trigger_workflow(connection)
    off = {
        "PLATFORM_API_VOTE_ANOMALY_WORKER_ENABLED": "false",
        "PLATFORM_API_WORKFLOW_DISPATCH_ENABLED": "false",
    }
    with realtime(dsn, tmp_path / "log", **off) as process:
        first = eventually(lambda: call(connection, LISTENS))
        cast(connection, battle, [Ballot(known=False)])
        call(connection, "UPDATE battles.battles SET status = 'scoring' WHERE id = %s RETURNING 1", battle)
        # A new session begins with a look at everything.
        call(connection, "SELECT pg_terminate_backend(%s)", first[0])
        eventually(lambda: (call(connection, LISTENS) or first) != first)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert call(connection, WANTED) == 0
    assert call(connection, "SELECT count(*) FROM lenses.workflow_runs") == 0
