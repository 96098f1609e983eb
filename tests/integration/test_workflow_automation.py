"""Rules that act on what happened on the platform."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import Json

from app.database import Database
from app.local.platform import Seeded
from app.local.workflows import enqueue_workflow_run, make_workflow
from tests.integration.workflow_rows import BOTH_PLATFORMS, claim, rows, update
from tests.sql import call, sqlstate_of

DISPATCH = "SELECT worker.fn_run_dispatcher()"


def make_rule(connection: Connection, owner: UUID, kind: str, config: dict[str, Any], **columns: Any) -> UUID:
    found: UUID = call(
        connection,
        "INSERT INTO automation.trigger_rules (lenser_id, name, match_event_type, match_filter, action_kind,"
        " action_config) VALUES (%s, 'rule', 'workflow_run.completed', %s, %s, %s) RETURNING id",
        owner,
        Json(columns.get("match_filter", {})),
        kind,
        Json(config),
    )
    return found


def complete_a_run(connection: Connection, workflow_id: UUID, **columns: Any) -> UUID:
    run_id = enqueue_workflow_run(connection, workflow_id, status="running", **columns)
    update(connection, "lenses.workflow_runs", run_id, status="completed")
    return run_id


def outcomes(connection: Connection) -> list[tuple[str, str | None]]:
    found = rows(
        connection, "SELECT status, error FROM automation.event_dispatches ORDER BY attempted_at, status"
    )
    return [(row["status"], row["error"]) for row in found]


@pytest.fixture
def workflow_id(connection: Connection, seeded: Seeded) -> UUID:
    return make_workflow(connection).workflow_id


@BOTH_PLATFORMS
def test_an_event_starts_a_workflow_once_and_a_worker_takes_it(
    jobs_database: Database, connection: Connection, seeded: Seeded, workflow_id: UUID
) -> None:
    config = {"workflow_id": str(workflow_id), "context_inputs": {"a": 1}}
    make_rule(connection, seeded.people["ada"], "dispatch_workflow", config)
    complete_a_run(connection, workflow_id)
    assert [call(connection, DISPATCH) for _ in range(2)] == [1, 0]
    claimed = claim(jobs_database)
    assert claimed is not None
    assert (claimed.job["context_inputs"], claimed.job["recursion_depth"]) == ({"a": 1}, 1)
    assert claim(jobs_database) is None


@pytest.mark.parametrize(("named", "model"), [("gpt-4o", "gpt-4o"), ("", None), (None, None)])
def test_a_rule_keeps_the_model_of_the_runs_that_it_starts(
    jobs_database: Database,
    connection: Connection,
    seeded: Seeded,
    workflow_id: UUID,
    named: str | None,
    model: str | None,
) -> None:
    config = {"workflow_id": str(workflow_id)} | ({} if named is None else {"global_model_id": named})
    make_rule(connection, seeded.people["ada"], "dispatch_workflow", config)
    complete_a_run(connection, workflow_id)
    call(connection, DISPATCH)
    claimed = claim(jobs_database)
    assert claimed is not None
    assert claimed.job["global_model_id"] == model


@BOTH_PLATFORMS
def test_a_rules_webhook_has_the_platforms_body(
    connection: Connection, seeded: Seeded, workflow_id: UUID
) -> None:
    rule_id = make_rule(connection, seeded.people["ada"], "webhook", {"url": "https://hooks.example/x"})
    run_id = complete_a_run(connection, workflow_id)
    call(connection, DISPATCH)
    (event,) = rows(connection, "SELECT id, to_jsonb(occurred_at) AS at FROM automation.events")
    (sent,) = rows(connection, "SELECT id, event_type, payload FROM audit.webhook_outbox")
    assert sent["event_type"] == "automation.workflow_run.completed"
    assert sent["payload"] == {
        "webhook_version": 1,
        "rule_id": str(rule_id),
        "event_id": str(event["id"]),
        "event_type": "automation.workflow_run.completed",
        "occurred_at": event["at"],
        "payload": {"run_id": str(run_id), "workflow_id": str(workflow_id), "status": "completed"},
    }
    assert call(connection, "SELECT outbox_id FROM automation.event_dispatches") == sent["id"]


def test_the_reference_platforms_own_dispatcher_says_the_same(
    connection: Connection, seeded: Seeded, workflow_id: UUID
) -> None:
    ada = seeded.people["ada"]
    make_rule(connection, ada, "webhook", {"url": "https://hooks.example/x"})
    config = {"workflow_id": str(workflow_id), "global_model_id": "gpt-4o"}
    make_rule(connection, ada, "dispatch_workflow", config)
    complete_a_run(connection, workflow_id)
    assert call(connection, "SELECT automation.fn_run_dispatcher()") == 2
    (sent,) = rows(connection, "SELECT event_type, payload FROM audit.webhook_outbox")
    assert sent["event_type"] == sent["payload"]["event_type"] == "automation.workflow_run.completed"
    assert (sent["payload"]["webhook_version"], sent["payload"]["payload"]["status"]) == (1, "completed")
    started = "SELECT global_model_id FROM lenses.workflow_runs WHERE status = 'pending'"
    assert call(connection, started) == "gpt-4o"


def test_workflows_that_start_each_other_come_to_an_end(
    connection: Connection, seeded: Seeded, workflow_id: UUID
) -> None:
    make_rule(connection, seeded.people["ada"], "dispatch_workflow", {"workflow_id": str(workflow_id)})
    complete_a_run(connection, workflow_id, recursion_depth=8)
    call(connection, DISPATCH)
    ((status, error),) = outcomes(connection)
    assert status == "failed"
    assert "recursion_cap_exceeded" in str(error)


@BOTH_PLATFORMS
def test_an_action_that_fails_stops_no_other(
    connection: Connection, seeded: Seeded, workflow_id: UUID
) -> None:
    ada = seeded.people["ada"]
    make_rule(connection, ada, "dispatch_workflow", {"workflow_id": "nonsense"})
    make_rule(connection, ada, "notify", {"title": "Done"})
    make_rule(connection, ada, "webhook", {"url": "https://hooks.example/x"})
    complete_a_run(connection, workflow_id)
    assert call(connection, DISPATCH) == 3
    assert sorted(status for status, _ in outcomes(connection)) == ["dispatched", "dispatched", "failed"]
    assert call(connection, "SELECT title FROM public.notifications WHERE type = 'system'") == "Done"
    assert call(connection, "SELECT target_url FROM audit.webhook_outbox") == "https://hooks.example/x"


@pytest.mark.parametrize(("wanted", "status"), [("completed", "dispatched"), ("failed", "skipped")])
def test_a_filter_decides(
    connection: Connection, seeded: Seeded, workflow_id: UUID, wanted: str, status: str
) -> None:
    match_filter = {"all": [{"pointer": "/status", "op": "eq", "value": wanted}]}
    make_rule(connection, seeded.people["ada"], "notify", {}, match_filter=match_filter)
    complete_a_run(connection, workflow_id)
    call(connection, DISPATCH)
    assert [found for found, _ in outcomes(connection)] == [status]


def test_a_rule_sees_neither_the_past_nor_other_peoples_things(
    connection: Connection, seeded: Seeded, workflow_id: UUID
) -> None:
    complete_a_run(connection, workflow_id)
    make_rule(connection, seeded.people["ada"], "notify", {})
    make_rule(connection, seeded.people["grace"], "notify", {})
    assert call(connection, DISPATCH) == 0
    complete_a_run(connection, workflow_id)
    assert call(connection, DISPATCH) == 1


def test_nobody_starts_another_persons_workflow(
    connection: Connection, seeded: Seeded, workflow_id: UUID
) -> None:
    theirs = make_workflow(connection, owner="grace").workflow_id
    make_rule(connection, seeded.people["ada"], "dispatch_workflow", {"workflow_id": str(theirs)})
    complete_a_run(connection, workflow_id)
    call(connection, DISPATCH)
    assert [status for status, _ in outcomes(connection)] == ["failed"]


def test_the_platform_as_it_is_acts_on_nothing(
    connection: Connection, seeded: Seeded, workflow_id: UUID, platform_profile: str
) -> None:
    make_rule(connection, seeded.people["ada"], "notify", {})
    complete_a_run(connection, workflow_id)
    if platform_profile == "faulty":
        assert sqlstate_of(connection, "SELECT automation.fn_run_dispatcher()") == "42702"
    else:
        assert call(connection, "SELECT automation.fn_run_dispatcher()") == 1
