"""A queued lens run from its row to its result, in a real worker, with a provider on a real wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import RealDictCursor

from app.broker import LeaseBroker
from app.local.platform import Seeded, enqueue_lens_run, ensure_model
from app.local.provider_server import ProviderServer
from app.settings import settings
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.lens_runs"):
        yield


def ended(connection: Connection, run: UUID) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        with connection.cursor(cursor_factory=RealDictCursor) as row:
            row.execute(
                "SELECT r.*, c.outcome, c.errors FROM execution.runs r JOIN worker.claims c ON c.job = r.id"
                " WHERE r.id = %s AND c.finished_at IS NOT NULL",
                (run,),
            )
            found = row.fetchone()
            return dict(found) if found else None

    return eventually(look, what="the run's end")


def recorded_calls(connection: Connection) -> list[tuple[Any, ...]]:
    with connection.cursor() as row:
        row.execute(
            "SELECT provider, model, purpose, tokens_in > 0 AND tokens_out > 0, error_code"
            " FROM worker.provider_calls ORDER BY ended_at"
        )
        return row.fetchall()


@pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
def test_an_answer_is_stored_with_usage_and_artifact(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    run = ended(connection, enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "Say hi"}))
    assert (run["status"], run["outcome"], run["billing_status"]) == ("succeeded", "succeeded", "free")
    assert run["response_text"] == "gpt-4o says: Say hi"
    assert run["token_input"] > 0
    assert run["token_output"] > 0
    assert run["latency_ms"] >= 0
    assert run["response_meta"]["provider"] == "openai"
    assert call(connection, "SELECT content_text FROM execution.artifacts") == "gpt-4o says: Say hi"
    assert provider.calls[0].key == "sk-platform-planted-0123456789"


@pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
def test_a_refusal_fails_the_run_with_its_code(worker: None, connection: Connection) -> None:
    ensure_model(connection, "sc-refusal", "openai")
    run = ended(connection, enqueue_lens_run(connection, model="sc-refusal", inputs={"prompt": "hi"}))
    assert (run["status"], run["error_code"], run["outcome"]) == (
        "failed",
        "provider.content_refused",
        "failed",
    )
    assert run["response_text"] is None
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == 0
    assert call(connection, "SELECT error_code FROM worker.dead_letters") == "provider.content_refused"


def test_transient_errors_are_tried_again_until_it_works(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.script("gpt-4o", ["500", "reset"])
    run = ended(connection, enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"}))
    assert (run["status"], run["errors"]) == ("succeeded", 2)
    assert len(provider.calls) == 3
    assert recorded_calls(connection) == [
        ("openai", "gpt-4o", "answer", False, "provider.unavailable"),
        ("openai", "gpt-4o", "answer", False, "provider.connection_failed"),
        ("openai", "gpt-4o", "answer", True, None),
    ]


def test_transient_errors_are_not_tried_for_ever(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    ensure_model(connection, "sc-503", "openai")
    run = ended(connection, enqueue_lens_run(connection, model="sc-503", inputs={"prompt": "hi"}))
    assert (run["status"], run["error_code"]) == ("failed", "provider.unavailable")
    assert len(provider.calls) == settings().job_max_attempts


def test_a_lens_is_rendered_with_its_inputs(
    worker: None, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    ended(
        connection,
        enqueue_lens_run(
            connection, model="gpt-4o", lens="greeting", inputs={"name": "[[x]] {{ y }}", "language": "Go"}
        ),
    )
    assert "[[x]] {{ y }}" in provider.calls[0].prompt
    assert "[[name]]" not in provider.calls[0].prompt


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"lens": "greeting", "inputs": {}}, "template.missing_input"),
        ({"lens": "broken", "inputs": {"name": "Ada"}}, "template.syntax"),
        ({"inputs": {}}, "template.missing"),
        ({"inputs": {"prompt": "hi"}, "model": None}, "provider.model_not_found"),
        ({"inputs": {"prompt": "hi"}, "model": "claude-sonnet-4-6"}, "key.missing"),
        ({"inputs": {"prompt": "hi"}, "model": "midjourney-7"}, "provider.unsupported"),
        ({"inputs": {"prompt": "hi"}, "funding_source": "user_byok_cloud"}, "key.missing"),
        ({"inputs": {"prompt": "hi"}, "funding_source": "user_byok_local"}, "key.local_unsupported"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_can_not_be_run_fails_before_any_call(
    request_: dict[str, Any], code: str, worker: None, provider: ProviderServer, connection: Connection
) -> None:
    run = ended(connection, enqueue_lens_run(connection, **{"model": "gpt-4o", **request_}))
    assert (run["status"], run["error_code"]) == ("failed", code)
    assert provider.calls == []


def test_a_run_paid_by_its_owner_uses_the_owners_key(
    worker: None, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    key = seeded.keys["active"]
    secret = call(
        connection,
        "SELECT s.decrypted_secret FROM vault.decrypted_secrets s JOIN ai.keys k ON k.encrypted_key_id = s.id"
        " WHERE k.id = %s",
        key,
    )
    run = ended(
        connection,
        enqueue_lens_run(
            connection,
            model="gpt-4o",
            inputs={"prompt": "hi"},
            funding_source="user_byok_cloud",
            byok_key_id=key,
        ),
    )
    assert run["status"] == "succeeded"
    assert provider.calls[0].key == secret


@pytest.mark.parametrize(
    ("key", "requester", "model", "code"),
    [
        ("revoked", "ada", "gpt-4o", "key.revoked"),
        ("active", "grace", "gpt-4o", "key.not_owned"),
        ("active", "ada", "claude-sonnet-4-6", "key.wrong_provider"),
    ],
)
def test_a_key_that_may_not_be_used_is_not_replaced_by_another(
    key: str,
    requester: str,
    model: str,
    code: str,
    worker: None,
    provider: ProviderServer,
    connection: Connection,
    seeded: Seeded,
) -> None:
    run = enqueue_lens_run(
        connection,
        model=model,
        inputs={"prompt": "hi"},
        funding_source="user_byok_cloud",
        byok_key_id=seeded.keys[key],
        requester=requester,
    )
    assert ended(connection, run)["error_code"] == code
    assert provider.calls == []


def test_a_run_that_is_cancelled_in_mid_call_is_left_alone(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.hold()
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
    provider.wait_for_calls(1)
    connection.cursor().execute("UPDATE execution.runs SET status = 'canceled' WHERE id = %s", (run,))
    provider.release()
    assert ended(connection, run)["status"] == "canceled"
    assert call(connection, "SELECT outcome FROM worker.claims") == "gone"
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == 0


def test_no_key_is_left_anywhere_in_the_database(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    ensure_model(connection, "sc-echo-key", "openai")
    run = ended(connection, enqueue_lens_run(connection, model="sc-echo-key", inputs={"prompt": "hi"}))
    assert run["status"] == "failed"
    for table in ("execution.runs", "worker.claims", "dramatiq.queue"):
        found = call(
            connection, f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", "%planted-0123456789%"
        )
        assert found == 0, table
