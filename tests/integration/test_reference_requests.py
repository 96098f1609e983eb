import json
from contextlib import closing
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from psycopg2.errorcodes import INSUFFICIENT_PRIVILEGE
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs, ensure_model, seed
from app.local.seeds import LENSES
from tests.sql import call


def claim(session: Connection) -> UUID | None:
    run: dict[str, Any] | None = call(session, "SELECT public.fn_worker_claim_queued_run()")
    return UUID(run["run_id"]) if run else None


def test_a_request_is_pinned_to_a_version_and_keeps_a_copy_of_it(
    connection: Connection, seeded: Seeded
) -> None:
    enqueue_lens_run(connection, model=None, inputs={}, lens="greeting")
    request = call(connection, "SELECT to_jsonb(q) FROM execution.requests q")
    assert request["version_id"] == str(seeded.versions["greeting/2"])
    assert request["resolved_artifact_snapshot"]["template_body"] == LENSES["greeting"][1].body
    assert request["lens_content_hash"]
    assert request["resolved_artifact_snapshot_hash"]


def test_without_a_published_version_a_request_gets_the_head(connection: Connection, seeded: Seeded) -> None:
    call(connection, "UPDATE lenses.versions SET status = 'draft' WHERE true RETURNING 1")
    enqueue_lens_run(connection, model=None, inputs={}, lens="greeting")
    head = call(connection, "SELECT version_id FROM execution.requests")
    assert head == seeded.versions["greeting/3"]


def test_a_named_version_is_kept(connection: Connection, seeded: Seeded) -> None:
    version = seeded.versions["greeting/1"]
    enqueue_lens_run(connection, model=None, inputs={}, lens="greeting", version=version)
    assert call(connection, "SELECT version_id FROM execution.requests") == version


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lenses.lenses SET archived_at = now() WHERE true RETURNING 1",
        "UPDATE lenses.lenses SET deleted_at = now() WHERE true RETURNING 1",
        "DELETE FROM lenses.versions WHERE true RETURNING 1",
    ],
)
def test_a_lens_that_cannot_run_is_refused(connection: Connection, seeded: Seeded, statement: str) -> None:
    call(connection, statement)
    with pytest.raises(psycopg2.Error) as raised:
        enqueue_lens_run(connection, model=None, inputs={}, lens="greeting")
    assert raised.value.pgcode == INSUFFICIENT_PRIVILEGE


RUN_LENS = 'SELECT public.fn_run_lens(%s, NULL, %s, \'{"name": "Bob"}\', p_idempotency_key => %s)'


def test_a_signed_in_person_queues_a_run_once_for_an_idempotency_key(
    dsn: str, connection: Connection, seeded: Seeded
) -> None:
    model_id = ensure_model(connection, "test-model", "test-provider")
    with closing(psycopg2.connect(dsn)) as person, person:
        claims = json.dumps({"role": "authenticated", "sub": str(seeded.users["ada"])})
        call(person, "SELECT set_config('request.jwt.claims', %s, true)", claims)
        call(person, "SET LOCAL ROLE authenticated; SELECT 1")
        once, again, another = (
            call(person, RUN_LENS, seeded.lenses["greeting"], model_id, key) for key in ("a", "a", "b")
        )
    assert once == again != another
    assert {claim(connection), claim(connection)} == {once, another}


def test_nobody_queues_a_run_without_signing_in(connection: Connection, seeded: Seeded) -> None:
    with pytest.raises(psycopg2.Error, match="Authentication required"):
        call(connection, RUN_LENS, seeded.lenses["greeting"], None, None)


def test_seeding_twice_changes_nothing(dsn: str, seeded: Seeded) -> None:
    assert seed(dsn) == seeded


def test_many_runs_are_queued_in_one_statement(connection: Connection, seeded: Seeded) -> None:
    queued = enqueue_lens_runs(connection, 500, model="gpt-5.4", inputs={"prompt": "Hi"})
    assert len(set(queued)) == 500
    assert call(connection, "SELECT count(DISTINCT request_id) FROM execution.runs") == 500


def test_an_unknown_model_is_not_queued_silently(connection: Connection, seeded: Seeded) -> None:
    with pytest.raises(LookupError, match="no model nonsense"):
        enqueue_lens_run(connection, model="nonsense", inputs={})
