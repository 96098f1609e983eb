from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.errorcodes import CHECK_VIOLATION, FOREIGN_KEY_VIOLATION, NOT_NULL_VIOLATION, RAISE_EXCEPTION
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs, ensure_model
from tests.databases import connect_as_worker
from tests.sql import call, sqlstate_of

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])


def claim(session: Connection) -> UUID | None:
    run: dict[str, Any] | None = call(session, "SELECT public.fn_worker_claim_queued_run()")
    return UUID(run["run_id"]) if run else None


def read_run(session: Connection, run_id: UUID) -> dict[str, Any]:
    run: dict[str, Any] = call(session, "SELECT to_jsonb(r) FROM execution.runs r WHERE id = %s", run_id)
    return run


@pytest.fixture
def other(dsn: str) -> Iterator[Connection]:
    """A second session of the worker."""
    with closing(connect_as_worker(dsn)) as session:
        yield session


@pytest.fixture
def model(connection: Connection, seeded: Seeded) -> str:
    ensure_model(connection, "test-model", "test-provider")
    return "test-model"


@pytest.fixture
def run_id(connection: Connection, model: str) -> UUID:
    return enqueue_lens_run(connection, model=model, inputs={"prompt": "Hi"})


def test_a_claimed_run_has_everything_its_execution_needs(connection: Connection, seeded: Seeded) -> None:
    ensure_model(connection, "test-model", "test-provider")
    run_id = enqueue_lens_run(
        connection,
        model="test-model",
        inputs={"name": "Bob"},
        lens="greeting",
        funding_source="user_byok_cloud",
        byok_key_id=seeded.keys["active"],
    )
    run = call(connection, "SELECT public.fn_worker_claim_queued_run()")
    assert run.pop("request_id")
    assert run.pop("model_id")
    assert run == {
        "run_id": str(run_id),
        "requester_lenser_id": str(seeded.people["ada"]),
        "workspace_id": None,
        "lens_id": str(seeded.lenses["greeting"]),
        "version_id": str(seeded.versions["greeting/2"]),
        "model_key": "test-model",
        "provider_key": "test-provider",
        "funding_source": "user_byok_cloud",
        "byok_key_ref_id": str(seeded.keys["active"]),
        "input_snapshot": {"name": "Bob"},
    }
    assert read_run(connection, run_id)["status"] == "running"
    assert read_run(connection, run_id)["started_at"]


def test_a_run_without_a_model_is_claimed_without_one(connection: Connection, seeded: Seeded) -> None:
    enqueue_lens_run(connection, model=None, inputs={})
    run = call(connection, "SELECT public.fn_worker_claim_queued_run()")
    assert (run["model_id"], run["model_key"], run["provider_key"]) == (None, None, None)


def test_an_empty_queue_gives_null(connection: Connection, seeded: Seeded) -> None:
    assert claim(connection) is None


def test_the_oldest_run_is_claimed_first(connection: Connection, model: str) -> None:
    queued = [enqueue_lens_run(connection, model=model, inputs={}) for _ in range(3)]
    assert [claim(connection) for _ in range(4)] == [*queued, None]


@pytest.mark.parametrize("table", ["runs", "requests"])
def test_inactive_work_is_not_claimed(connection: Connection, run_id: UUID, table: str) -> None:
    call(connection, f"UPDATE execution.{table} SET is_active = false WHERE true RETURNING 1")
    assert claim(connection) is None


def test_two_concurrent_claims_never_return_the_same_run(
    connection: Connection, other: Connection, model: str
) -> None:
    queued = enqueue_lens_runs(connection, 2, model=model, inputs={})
    with connection, other:
        assert {claim(connection), claim(other)} == set(queued)


def test_a_sibling_of_a_run_that_is_being_claimed_is_skipped_and_not_waited_for(
    connection: Connection, other: Connection, run_id: UUID
) -> None:
    sibling = call(
        connection,
        "INSERT INTO execution.runs (request_id) "
        "SELECT request_id FROM execution.runs WHERE id = %s RETURNING id",
        run_id,
    )
    with connection:
        assert claim(connection) == run_id
        assert claim(other) is None
    assert claim(other) == sibling


def test_completing_overwrites_texts_and_keeps_counters(connection: Connection, run_id: UUID) -> None:
    claim(connection)
    call(
        connection,
        "SELECT public.fn_worker_complete_execution_run(%s, 'succeeded', 10, 20, 3, 'pending', 'Hello', "
        "'{\"a\": 1}', NULL, NULL, 50)",
        run_id,
    )
    call(
        connection,
        "SELECT public.fn_worker_complete_execution_run(p_run_id => %s, p_status => 'failed', "
        "p_billing_status => 'free', p_error_code => 'late')",
        run_id,
    )
    run = read_run(connection, run_id)
    assert run["completed_at"] >= run["started_at"]
    assert {
        key: run[key]
        for key in ("status", "billing_status", "response_text", "error_code", "token_input", "token_output")
    } == {
        "status": "failed",
        "billing_status": "free",
        "response_text": None,
        "error_code": "late",
        "token_input": 10,
        "token_output": 20,
    }
    assert (run["credit_cost"], run["response_meta"], run["latency_ms"]) == (3, {"a": 1}, 50)


@pytest.mark.parametrize("platform_profile", ["repaired"])
def test_without_a_billing_status_the_run_keeps_its_own(connection: Connection, run_id: UUID) -> None:
    call(connection, "UPDATE execution.runs SET billing_status = 'pending' WHERE id = %s RETURNING 1", run_id)
    call(connection, "SELECT public.fn_worker_complete_execution_run(%s, 'failed')", run_id)
    run = read_run(connection, run_id)
    assert (run["status"], run["billing_status"]) == ("failed", "pending")


@pytest.mark.parametrize("platform_profile", ["faulty"])
def test_with_its_faults_the_platform_cannot_complete_without_a_billing_status(
    connection: Connection, run_id: UUID
) -> None:
    statement = "SELECT public.fn_worker_complete_execution_run(%s, 'failed')"
    assert sqlstate_of(connection, statement, run_id) == NOT_NULL_VIOLATION
    assert read_run(connection, run_id)["status"] == "queued"


@BOTH_PLATFORMS
@pytest.mark.parametrize(("status", "billing"), [("cancelled", "free"), ("failed", "paid")])
def test_unknown_states_are_refused(connection: Connection, run_id: UUID, status: str, billing: str) -> None:
    statement = "SELECT public.fn_worker_complete_execution_run(%s, %s, p_billing_status => %s)"
    assert sqlstate_of(connection, statement, run_id, status, billing) == CHECK_VIOLATION


def test_completing_an_unknown_run_does_nothing(connection: Connection, run_id: UUID) -> None:
    statement = "SELECT public.fn_worker_complete_execution_run(%s, 'failed', p_billing_status => 'free')"
    call(connection, statement, uuid4())
    assert read_run(connection, run_id)["status"] == "queued"


@BOTH_PLATFORMS
def test_failing_leaves_billing_alone(connection: Connection, run_id: UUID) -> None:
    claim(connection)
    call(connection, "SELECT public.fn_worker_fail_execution_run(%s)", run_id)
    run = read_run(connection, run_id)
    assert (run["status"], run["error_code"], run["error_message"], run["billing_status"]) == (
        "failed",
        "provider_failed",
        "Provider reported failure",
        "free",
    )
    assert run["completed_at"]


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled", "timed_out"])
def test_entering_a_final_status_stamps_completed_at_once(
    connection: Connection, run_id: UUID, status: str
) -> None:
    update = "UPDATE execution.runs SET status = %s WHERE id = %s RETURNING completed_at::text"
    assert call(connection, update, "running", run_id) is None
    stamped = call(connection, update, status, run_id)
    assert stamped
    assert call(connection, update, status, run_id) == stamped


def test_every_new_run_is_audited_and_the_audit_stays(connection: Connection, run_id: UUID) -> None:
    events = "SELECT to_jsonb(e) FROM audit.events e WHERE event_type = 'execution.created'"
    assert call(connection, events)["entity_id"] == str(run_id)
    assert sqlstate_of(connection, "DELETE FROM audit.events") == RAISE_EXCEPTION


PERSIST = (
    "SELECT public.fn_worker_persist_execution_artifacts(%s, NULL, NULL, NULL, %s, 'text', NULL, %s::uuid[])"
)


@BOTH_PLATFORMS
def test_an_artifact_is_private_and_primary_and_has_its_media(
    connection: Connection, seeded: Seeded, run_id: UUID
) -> None:
    media_id = call(
        connection,
        "INSERT INTO media.objects (workspace_id, owner_lenser_id, external_url, media_type, name) "
        "VALUES (%s, %s, 'https://example.com/a.png', 'image', 'a') RETURNING id",
        seeded.workspaces["engine-room"],
        seeded.people["ada"],
    )
    call(connection, PERSIST, run_id, "image", [media_id])
    artifact = call(connection, "SELECT to_jsonb(a) FROM execution.artifacts a")
    assert (artifact["artifact_kind"], artifact["output_type"]) == ("image", "image")
    assert (artifact["visibility"], artifact["is_primary_output"]) == ("private", True)
    assert call(connection, "SELECT media_id FROM execution.artifact_medias") == media_id


@BOTH_PLATFORMS
def test_artifacts_want_an_array_of_media_a_known_kind_and_a_run(
    connection: Connection, run_id: UUID
) -> None:
    assert sqlstate_of(connection, PERSIST, run_id, "text", None) == "22004"
    assert sqlstate_of(connection, PERSIST, run_id, "music", []) == CHECK_VIOLATION
    assert sqlstate_of(connection, PERSIST, uuid4(), "text", []) == FOREIGN_KEY_VIOLATION
    assert call(connection, "SELECT count(*) FROM execution.artifacts") == 0
