"""What happens to battles when processes die in the middle of them."""

from __future__ import annotations

import os
import subprocess
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.battles import Contender, enqueue_battle, enqueue_battles
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from tests.lifecycle.processes import BIN, ROOT, Fleet
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

BATTLES = {"PLATFORM_API_BATTLE_WORKER_ENABLED": "true"}
CONTENDERS = (Contender("gpt-4o"), Contender("gpt-5.4-mini"))


def wait_for_voting(connection: Connection, battles: list[UUID]) -> None:
    voting = "SELECT count(*) FROM battles.battles WHERE status = 'voting' AND id = ANY (%s)"
    eventually(lambda: call(connection, voting, battles) == len(battles), what="voting in every battle")


@pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
def test_a_job_whose_worker_is_killed_is_done_once_by_another(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    doomed = workers.start(**BATTLES)
    battle = enqueue_battle(connection, *CONTENDERS, task_prompt="Praise the sea")
    provider.wait_for_calls(2)
    doomed.kill()
    workers.start(**BATTLES)
    provider.release()
    wait_for_voting(connection, [battle])
    assert call(connection, "SELECT count(*) FROM battles.submissions WHERE status = 'submitted'") == 2
    with connection.cursor() as row:
        row.execute("SELECT attempt, deaths, outcome FROM worker.claims")
        assert row.fetchall() == [(2, 1, "succeeded")] * 2
        row.execute("SELECT retry_count FROM battles.battle_execution_jobs")
        assert row.fetchall() == [(0,)] * 2  # a death is no error
    assert len(provider.calls) == 4


def test_two_workers_take_100_battles_to_the_vote_with_two_submissions_each(
    workers: Fleet, connection: Connection, seeded: Seeded
) -> None:
    for _ in range(2):
        workers.start(threads=8, ECHO_PROVIDER="1", **BATTLES)
    battles = enqueue_battles(connection, 100, *CONTENDERS, task_prompt="Praise the sea")
    wait_for_voting(connection, battles)
    assert call(connection, "SELECT count(*) FROM battles.submissions WHERE content_text IS NOT NULL") == 200
    opened = "SELECT count(*) FROM audit.events WHERE event_type = 'battle.voting_started_internal'"
    assert call(connection, opened) == 100
    assert call(connection, "SELECT count(*) FROM worker.claims WHERE attempt = 1") == 200


def test_the_command_line_starts_a_battle_and_prints_both_answers(
    workers: Fleet, connection: Connection, seeded: Seeded, dsn: str
) -> None:
    workers.start(**BATTLES)
    ended = subprocess.run(
        [
            *(str(BIN / "lf-worker"), "enqueue", "battle", "--prompt", "Praise the sea"),
            *("--model", "gpt-4o", "--model", "gpt-5.4-mini", "--wait"),
        ],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert " voting\nA: gpt-4o says: Praise the sea\nB: " in ended.stdout
    assert ended.stderr == ""
