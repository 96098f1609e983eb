"""Battles of media and battles that Chainabit executes, in a real worker, from open to voting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.battles import Contender
from app.local.media_samples import MP3, MP4
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.storage_server import StorageServer
from tests.integration.battle_rows import dead_letters, ended_jobs, queue_battle, status_of
from tests.integration.conftest import running_worker
from tests.integration.media_world import providers_of_media, storage_for_media  # noqa: F401  # fixtures
from tests.sql import call
from tests.waiting import eventually

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
VIDEO, MUSIC = Contender("sora-2.0"), Contender("suno-v5")


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.battles", "actors.media"):
        yield


@pytest.fixture
def chainabit(configure: Callable[..., None], provider: ProviderServer) -> ProviderServer:
    configure(
        CHAINABIT_EXECUTION_ENABLED="true",
        CHAINABIT_PARTNER_API_KEY="partner-planted-0123456789",
        WORKER_CHAINABIT_POLL_INTERVAL_MS="1",
    )
    return provider


def submission_of(connection: Connection, job: dict[str, Any]) -> tuple[Any, ...]:
    with connection.cursor() as row:
        row.execute(
            "SELECT status::text, output_modality, media_url, content_url, mime_type, is_final"
            " FROM battles.submissions WHERE contender_id = %s",
            (job["contender_id"],),
        )
        return row.fetchone() or ()


@BOTH_PLATFORMS
def test_a_battle_of_media_is_stored_and_opens_voting(
    storage: StorageServer,
    worker: None,
    provider: ProviderServer,
    connection: Connection,
) -> None:
    battle = queue_battle(connection, VIDEO, MUSIC)
    video, music = ended_jobs(connection, battle)
    assert (video["status"], music["status"]) == ("completed", "completed")
    assert status_of(connection, battle) == "voting"
    for job, modality, mime, content in (
        (video, "video", "video/mp4", MP4),
        (music, "audio", "audio/mpeg", MP3),
    ):
        folder = f"battles-media/{battle}/{job['contender_id']}/"
        (path,) = [path for path in storage.objects if path.startswith(folder)]
        url = f"{storage.url}/storage/v1/object/authenticated/{path}"
        assert storage.objects[path].content == content
        assert submission_of(connection, job) == ("submitted", modality, url, url, mime, True)
    assert len(provider.calls) == 2


def test_a_task_that_fails_goes_to_the_dead_letters(
    worker: None,
    provider: ProviderServer,
    connection: Connection,
) -> None:
    provider.media.plan("sora-2", ["pending", "failed"])
    battle = queue_battle(connection, VIDEO, MUSIC)
    video, music = ended_jobs(connection, battle)
    assert (video["status"], music["status"]) == ("failed", "completed")
    assert dead_letters(connection, battle) == {"A": "provider.task_failed"}
    assert status_of(connection, battle) == "voting"


def test_a_battle_that_is_archived_meanwhile_gets_nothing(
    worker: None,
    provider: ProviderServer,
    connection: Connection,
) -> None:
    provider.media.plan("sora-2", ["pending"])
    battle = queue_battle(connection, VIDEO, VIDEO)
    ordered = "SELECT count(*) FROM worker.media_tasks"
    eventually(lambda: call(connection, ordered) == 2, what="both tasks")
    provider.media.wait_for_polls(4)
    connection.cursor().execute("UPDATE battles.battles SET status = 'archived' WHERE id = %s", (battle,))
    abandoned = "SELECT count(*) FROM worker.media_tasks WHERE state = 'abandoned'"
    eventually(lambda: call(connection, abandoned) == 2, what="the tasks' end")
    assert call(connection, "SELECT count(*) FROM battles.submissions WHERE media_url IS NOT NULL") == 0
    assert status_of(connection, battle) == "archived"


def test_a_poll_keeps_the_platform_from_taking_its_job_back(
    worker: None,
    provider: ProviderServer,
    connection: Connection,
) -> None:
    provider.media.plan("sora-2", ["pending"])
    queue_battle(connection, VIDEO, VIDEO)
    provider.media.wait_for_polls(2)
    connection.cursor().execute(
        "UPDATE battles.battle_execution_jobs SET claimed_at = now() - interval '9 minutes'"
    )
    fresh = "SELECT bool_and(claimed_at > now() - interval '1 minute') FROM battles.battle_execution_jobs"
    eventually(lambda: call(connection, fresh), what="a renewed claim")
    assert len(provider.calls) == 2


@BOTH_PLATFORMS
def test_chainabit_executes_a_battle(chainabit: ProviderServer, worker: None, connection: Connection) -> None:
    battle = queue_battle(connection)
    first, second = ended_jobs(connection, battle)
    assert (first["status"], second["status"]) == ("completed", "completed")
    assert first["content_text"] == "gpt-4o says: Praise the sea"
    assert status_of(connection, battle) == "voting"
    calls = [call for call in chainabit.calls if call.provider == "chainabit"]
    assert len(calls) == len(chainabit.calls) == 2
    assert {call.key for call in calls} == {"partner-planted-0123456789"}
    body = next(call.body for call in calls if call.body["id"] == str(first["id"]))
    assert (body["type"], body["stream"], body["input"]["slot"]) == ("lens", False, "A")
    assert body["input"]["api_key"].startswith("sk-platform-planted")


@pytest.mark.parametrize(
    ("plan", "timeout_ms", "code"),
    [
        (["pending", "failed"], "60000", "chainabit.session_failed"),
        (["pending", "odd"], "300", "chainabit.timed_out"),
        (["503", "bad-json", "reset", "pending"], "300", "chainabit.timed_out"),
    ],
    ids=["failed", "a word nobody knows", "silence"],
)
def test_a_session_without_a_result_is_no_success(
    plan: list[str],
    timeout_ms: str,
    code: str,
    chainabit: ProviderServer,
    worker: None,
    connection: Connection,
    configure: Callable[..., None],
) -> None:
    configure(WORKER_CHAINABIT_TIMEOUT_MS=timeout_ms)
    chainabit.media.plan("gpt-4o", plan)
    battle = queue_battle(connection)
    first, second = ended_jobs(connection, battle)
    assert (first["status"], second["status"]) == ("failed", "completed")
    assert dead_letters(connection, battle) == {"A": code}
    assert len(chainabit.calls) == 2


def test_a_session_that_may_have_begun_is_not_submitted_again(
    chainabit: ProviderServer, worker: None, connection: Connection
) -> None:
    chainabit.script("gpt-4o", ["reset"])
    battle = queue_battle(connection)
    ended_jobs(connection, battle)
    assert dead_letters(connection, battle) == {"A": "chainabit.submission_unknown"}
    assert len(chainabit.calls) == 2


def test_no_key_of_chainabit_or_the_contender_is_left_in_the_database(
    chainabit: ProviderServer, worker: None, connection: Connection
) -> None:
    chainabit.script("gpt-4o", ["echo-key"])
    ended_jobs(connection, queue_battle(connection))
    assert all("planted-" in each.key for each in chainabit.calls)
    assert chainabit.calls
    tables = ("battles.battle_execution_jobs", "battles.battle_execution_dead_letters", "worker.claims")
    for table in (*tables, "worker.media_tasks", "dramatiq.queue"):
        assert call(connection, f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%%planted-%%'") == 0
