"""Lens runs that end in media, in a real worker: at once or as tasks, stored or linked, paid for once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from app.broker import LeaseBroker
from app.local.media_samples import MP3, MP4, PNG
from app.local.platform import Seeded, enqueue_lens_run, ensure_model
from app.local.provider_server import ProviderServer
from app.local.storage_server import StorageServer
from tests.integration.conftest import running_worker
from tests.integration.media_world import providers_of_media, storage_for_media  # noqa: F401  # fixtures
from tests.sql import call
from tests.waiting import eventually

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])

#: Model, kind as the platform stores it, content, and whether a task made it.
MADE = [
    ("dall-e-3", "image", PNG, False),
    ("gpt-image-1", "image", PNG, False),
    ("imagen-4", "image", PNG, False),
    ("stable-image-core", "image", PNG, False),
    ("elevenlabs-v4", "audio", MP3, False),
    ("sora-2.0", "video", MP4, True),
    ("veo-3", "video", MP4, True),
    ("lyria-2", "audio", MP3, True),
    ("kling-2.0", "video", MP4, True),
    ("suno-v5", "audio", MP3, True),
    ("fal-ai/flux", "image", PNG, True),
]


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.lens_runs", "actors.media", "schedules.media"):
        yield


def queue(connection: Connection, model: str, **request: Any) -> UUID:
    return enqueue_lens_run(connection, model=model, inputs={"prompt": "a red kite"}, **request)


def ended(connection: Connection, run: UUID) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        with connection.cursor(cursor_factory=RealDictCursor) as row:
            row.execute(
                "SELECT r.* FROM execution.runs r WHERE r.id = %s AND r.status NOT IN ('queued', 'running')"
                " AND NOT EXISTS (SELECT FROM worker.claims WHERE finished_at IS NULL)",
                (run,),
            )
            found = row.fetchone()
            return dict(found) if found else None

    return eventually(look, what="the run's end")


def task_of(connection: Connection, run: UUID) -> dict[str, Any]:
    with connection.cursor(cursor_factory=RealDictCursor) as row:
        row.execute("SELECT * FROM worker.media_tasks WHERE job = %s ORDER BY created_at DESC", (run,))
        return dict(row.fetchone() or {})


@BOTH_PLATFORMS
def test_media_of_every_provider_are_stored_once(
    storage: StorageServer, worker: None, provider: ProviderServer, connection: Connection
) -> None:
    ensure_model(connection, "fal-ai/flux", "fal", "image")
    runs = {model: queue(connection, model) for model, *_ in MADE}
    for model, kind, content, is_task in MADE:
        run = ended(connection, runs[model])
        assert (model, run["status"], run["error_code"]) == (model, "succeeded", None)
        folder = "async" if is_task else "sync"
        (path,) = [path for path in storage.objects if str(run["id"]) in path]
        assert path.startswith(f"generated-media/{folder}/{run['id']}.")
        assert storage.objects[path].content == content
        assert run["response_text"] == f"{storage.url}/storage/v1/object/authenticated/{path}"
        artifact = "SELECT artifact_kind || ' ' || content_text FROM execution.artifacts WHERE run_id = %s"
        assert call(connection, artifact, run["id"]) == f"{kind} {run['response_text']}"
        stored = (
            "SELECT o.bucket || '/' || o.object_key FROM media.objects o"
            " JOIN execution.artifact_medias m ON m.media_id = o.id"
            " JOIN execution.artifacts a ON a.id = m.artifact_id WHERE a.run_id = %s"
        )
        assert call(connection, stored, run["id"]) == path
        task = task_of(connection, run["id"])
        assert task["state"] == "finished"
    assert len(provider.calls) == len(MADE)


@BOTH_PLATFORMS
def test_without_storage_the_providers_link_is_kept(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    run = ended(connection, queue(connection, "sora-2.0"))
    assert run["response_text"] == f"{provider.url}/files/task-1.mp4"
    assert call(connection, "SELECT external_url FROM media.objects") == run["response_text"]
    assert provider.media.fetches == []


def test_without_storage_a_small_file_is_kept_as_a_data_uri(worker: None, connection: Connection) -> None:
    run = ended(connection, queue(connection, "elevenlabs-v4"))
    assert run["response_text"].startswith("data:audio/mpeg;base64,")


@pytest.mark.environment(WORKER_MEDIA_INLINE_MAX_BYTES="10")
def test_without_storage_a_large_file_has_nowhere_to_go(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    run = ended(connection, queue(connection, "imagen-4"))
    assert (run["status"], run["error_code"]) == ("failed", "media.nowhere_to_store")
    assert len(provider.calls) == 1


def test_polls_that_find_nothing_out_are_no_end(
    storage: StorageServer, worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.media.plan("sora-2", ["pending", "503", "408", "reset", "html", "404", "pending", "done"])
    run = ended(connection, queue(connection, "sora-2.0"))
    assert run["status"] == "succeeded"
    assert task_of(connection, run["id"])["polls"] == 7
    assert len(provider.media.polls) == 8
    assert len(provider.calls) == 1


@pytest.mark.parametrize(
    ("state", "code"), [("failed", "provider.task_failed"), ("refused", "provider.content_refused")]
)
def test_a_task_that_failed_fails_its_run(
    state: str, code: str, worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.media.plan("kling-v2-master", ["pending", state])
    run = ended(connection, queue(connection, "kling-2.0"))
    assert (run["status"], run["error_code"]) == ("failed", code)
    assert task_of(connection, run["id"])["state"] == "failed"
    assert (
        call(connection, "SELECT kind || ' ' || error_code FROM worker.dead_letters") == f"media_poll {code}"
    )


def test_a_run_whose_task_failed_can_be_replayed(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.media.plan("kling-v2-master", ["failed"])
    run = queue(connection, "kling-2.0")
    ended(connection, run)
    provider.media.plan("kling-v2-master", ["done"])
    replay = call(connection, "SELECT replay FROM worker.kinds WHERE kind = 'media_poll'")
    task = task_of(connection, run)["id"]
    assert call(connection, replay.replace("$1", "%s"), task) is True
    assert ended(connection, run)["status"] == "succeeded"
    assert len(provider.calls) == 2


@pytest.mark.environment(WORKER_MEDIA_TASK_EXPIRY_SECONDS="0.3")
def test_a_task_that_never_ends_expires(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.media.plan("chirp-v4", ["pending"])
    run = ended(connection, queue(connection, "suno-v5"))
    assert (run["status"], run["error_code"]) == ("failed", "provider.task_expired")


def test_a_storage_that_is_away_costs_no_second_order(
    storage: StorageServer, worker: None, provider: ProviderServer, connection: Connection
) -> None:
    storage.failures = [503]
    run = ended(connection, queue(connection, "stable-image-core"))
    assert run["status"] == "succeeded"
    assert storage.uploads == 2
    assert len(provider.calls) == 1


@pytest.mark.parametrize(("scenario", "fetches"), [("html", 1), ("503", 2)])
def test_a_file_is_looked_at_before_it_is_stored(
    scenario: str,
    fetches: int,
    storage: StorageServer,
    worker: None,
    provider: ProviderServer,
    connection: Connection,
) -> None:
    provider.media.file_script = [scenario]
    run = ended(connection, queue(connection, "sora-2.0"))
    assert len(provider.media.fetches) == fetches
    if scenario == "html":
        assert (run["status"], run["error_code"]) == ("failed", "media.wrong_type")
        assert storage.objects == {}
    else:
        assert run["status"] == "succeeded"


def test_an_order_that_the_provider_refused_is_sent_again(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.script("sora-2", ["503", "500"])
    run = ended(connection, queue(connection, "sora-2.0"))
    assert run["status"] == "succeeded"
    assert len(provider.calls) == 3
    states = "SELECT array_agg(state ORDER BY created_at) FROM worker.media_tasks"
    assert call(connection, states) == ["rejected", "rejected", "finished"]


@pytest.mark.parametrize("model", ["dall-e-3", "sora-2.0"])
def test_an_order_whose_answer_got_lost_is_not_sent_again(
    model: str, worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.script({"dall-e-3": "dall-e-3", "sora-2.0": "sora-2"}[model], ["reset"])
    run = ended(connection, queue(connection, model))
    assert (run["status"], run["error_code"]) == ("failed", "provider.submission_unknown")
    assert task_of(connection, run["id"])["state"] == "unknown"
    assert len(provider.calls) == 1


def test_a_provider_that_can_be_asked_is_asked_for_a_lost_order(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.script("kling-v2-master", ["cut-body"])
    run = ended(connection, queue(connection, "kling-2.0"))
    assert run["status"] == "succeeded"
    assert len(provider.calls) == 1
    assert provider.media.polls[0].task_id == str(run["id"])


def test_a_task_is_polled_with_the_key_that_started_it(
    worker: None, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    run = ended(
        connection,
        queue(connection, "sora-2.0", funding_source="user_byok_cloud", byok_key_id=seeded.keys["active"]),
    )
    assert run["status"] == "succeeded"
    assert {poll.key for poll in provider.media.polls} == {"sk-local-active-0001"}
    assert task_of(connection, run["id"])["byok_key_id"] == seeded.keys["active"]


def test_a_key_that_is_revoked_meanwhile_is_not_replaced(
    worker: None, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    run = queue(connection, "sora-2.0", funding_source="user_byok_cloud", byok_key_id=seeded.keys["active"])
    provider.wait_for_calls(1)
    connection.cursor().execute(
        "UPDATE ai.keys SET is_active = false WHERE id = %s", (seeded.keys["active"],)
    )
    provider.release()
    assert ended(connection, run)["error_code"] == "key.revoked"
    assert provider.media.polls == []


def test_a_run_that_is_cancelled_while_its_task_runs_is_left_alone(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.media.plan("sora-2", ["pending"])
    run = queue(connection, "sora-2.0")
    provider.media.wait_for_polls(2)
    connection.cursor().execute("UPDATE execution.runs SET status = 'canceled' WHERE id = %s", (run,))
    eventually(lambda: task_of(connection, run)["state"] == "abandoned", what="the task's end")
    assert ended(connection, run)["status"] == "canceled"
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == 0


def test_a_priced_medium_is_billed_unless_its_owner_paid(
    worker: None, connection: Connection, seeded: Seeded
) -> None:
    connection.cursor().execute(
        "INSERT INTO ai.modality_pricing (model_id, output_modality, credit_rate, rate_unit)"
        " VALUES (%s, 'video', 2.5, 'per_second')",
        (seeded.models["sora-2.0"],),
    )
    paid = ended(connection, queue(connection, "sora-2.0", output_modality="video"))
    assert (paid["credit_cost"], paid["billing_status"]) == (13, "pending")
    byok = {"funding_source": "user_byok_cloud", "byok_key_id": seeded.keys["active"]}
    own = ended(connection, queue(connection, "sora-2.0", output_modality="video", **byok))
    assert (own["credit_cost"], own["billing_status"]) == (0, "free")


def test_no_key_is_left_anywhere_in_the_database(
    storage: StorageServer, provider: ProviderServer, worker: None, connection: Connection
) -> None:
    ended(connection, queue(connection, "veo-3"))
    assert any("planted-" in each.key for each in provider.calls)
    for table in ("execution.runs", "worker.claims", "worker.media_tasks", "dramatiq.queue", "media.objects"):
        for secret in ("%planted-%", f"%{storage.service_key}%"):
            assert call(connection, f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", secret) == 0
