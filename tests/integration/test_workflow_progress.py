"""What an attempt at a workflow run may write, and when its word no longer counts."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.claims import Claim
from app.database import Database
from app.errors import GiveUp, StaleClaim
from app.local.platform import Seeded
from app.local.teams import make_agent
from app.local.workflows import SeededWorkflow, enqueue_workflow_run, make_schedule, make_workflow
from app.platform.run_events import RunEvent, RunEventType
from app.platform.workflows import NodeWrite, RunHold, Verdict, fail_run, finish_run
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    claim,
    hold_of,
    must_claim,
    node_statuses,
    rows,
    run_row,
    update,
    wake_run,
)
from tests.sql import call, sqlstate_of

Claimed = Claim[dict[str, Any]]


@pytest.fixture
def workflow(connection: Connection, seeded: Seeded) -> SeededWorkflow:
    return make_workflow(connection)


@pytest.fixture
def claimed(jobs_database: Database, connection: Connection, workflow: SeededWorkflow) -> Claimed:
    enqueue_workflow_run(connection, workflow.workflow_id)
    return must_claim(jobs_database)


@pytest.fixture
def hold(claimed: Claimed) -> RunHold:
    return hold_of(claimed)


def node_row(connection: Connection, node_id: UUID) -> dict[str, Any]:
    return rows(connection, "SELECT * FROM lenses.workflow_node_results WHERE node_id = %s", node_id)[0]


@BOTH_PLATFORMS
def test_the_platforms_own_upsert_keeps_an_output_and_is_ambiguous_with_five_arguments(
    connection: Connection, workflow: SeededWorkflow
) -> None:
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    node = workflow.nodes["start"]
    seven = (
        "SELECT public.fn_worker_upsert_node_result(%s, %s, 'completed', %s, NULL, NULL::jsonb, NULL::jsonb)"
    )
    call(connection, seven, run_id, node, '{"output": 1}')
    call(connection, seven, run_id, node, None)
    assert node_row(connection, node)["output_data"] == {"output": 1}
    named = (
        "SELECT public.fn_worker_upsert_node_result(p_run_id => %s, p_node_id => %s, p_status => 'completed')"
    )
    assert sqlstate_of(connection, named, run_id, node) == "42725"


@BOTH_PLATFORMS
def test_a_nodes_way_is_written_with_all_that_is_known_of_it(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, hold: RunHold
) -> None:
    node = workflow.nodes["greet"]
    hold.save(jobs_database, [NodeWrite(node_id=node, status="retrying", error_message="x", retry_count=1)])
    verdict = hold.save(
        jobs_database,
        [
            NodeWrite(
                node_id=node,
                status="completed",
                output_data={"output": "hello\x00\ud800"},
                resolved_input_snapshot={"name": "Ada"},
                provider_route={"providerId": "openai"},
                input_tokens=3,
                output_tokens=5,
                cost_credits=2,
                duration_ms=40,
            )
        ],
    )
    stored = node_row(connection, node)
    assert verdict is Verdict.OURS
    assert (stored["status"], stored["error_message"], stored["retry_count"]) == ("completed", None, 1)
    assert stored["output_data"] == {"output": "hello\ufffd\ufffd"}
    assert (stored["input_tokens"], stored["output_tokens"], stored["duration_ms"]) == (3, 5, 40)
    assert stored["started_at"] <= stored["completed_at"]
    assert run_row(connection, hold.run_id)["spent_credits"] == 2


def test_a_node_that_has_ended_stays_as_it_is(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, hold: RunHold
) -> None:
    node = workflow.nodes["start"]
    for status, output in (("completed", {"output": 1}), ("running", None), ("failed", {"output": 2})):
        hold.save(jobs_database, [NodeWrite(node_id=node, status=status, output_data=output)])
    stored = node_row(connection, node)
    assert (stored["status"], stored["output_data"]) == ("completed", {"output": 1})


def test_of_two_rows_of_a_node_in_one_batch_the_last_counts(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, hold: RunHold
) -> None:
    node = workflow.nodes["start"]
    hold.save(
        jobs_database,
        [NodeWrite(node_id=node, status="running"), NodeWrite(node_id=node, status="completed")],
    )
    assert node_row(connection, node)["status"] == "completed"


def test_a_node_deleted_meanwhile_spoils_nothing(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, hold: RunHold
) -> None:
    gone, there = workflow.nodes["start"], workflow.nodes["join"]
    rows(connection, "DELETE FROM lenses.workflow_nodes WHERE id = %s", gone)
    written = [NodeWrite(node_id=node, status="completed") for node in (gone, there)]
    assert hold.save(jobs_database, written) is Verdict.OURS
    assert node_statuses(connection, hold.run_id)[there] == "completed"


def test_an_older_attempt_writes_nothing(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, hold: RunHold
) -> None:
    newer = claim(jobs_database, message=hold.message_id)
    assert newer is not None
    node = workflow.nodes["start"]
    assert hold.save(jobs_database, [NodeWrite(node_id=node, status="completed")]) is Verdict.STALE
    assert hold.beat(jobs_database) is Verdict.STALE
    assert not hold.close_ended(jobs_database)
    assert node_row(connection, node)["status"] == "pending"
    assert hold_of(newer).beat(jobs_database) is Verdict.OURS


@pytest.mark.parametrize(
    ("columns", "verdict"),
    [
        ({"status": "cancelled"}, Verdict.CANCELLED),
        ({"status": "timed_out"}, Verdict.ENDED),
        ({"status": "queued"}, Verdict.ENDED),
        ({"status": "recovered", "run_worker_id": "worker-9"}, Verdict.TAKEN),
    ],
)
def test_whoever_lost_the_run_is_told_and_writes_nothing(
    jobs_database: Database,
    connection: Connection,
    workflow: SeededWorkflow,
    hold: RunHold,
    columns: dict[str, Any],
    verdict: Verdict,
) -> None:
    update(connection, "lenses.workflow_runs", hold.run_id, **columns)
    node = workflow.nodes["start"]
    event = RunEvent(type=RunEventType.NODE_COMPLETED, payload={"nodeId": str(node)})
    before = node_row(connection, node)["status"]
    assert hold.save(jobs_database, [NodeWrite(node_id=node, status="completed")], [event]) is verdict
    assert hold.beat(jobs_database) is verdict
    assert node_row(connection, node)["status"] == before
    of_nodes = "SELECT count(*) FROM lenses.workflow_run_events WHERE type = 'node.completed'"
    assert call(connection, of_nodes) == 0


def test_a_heartbeat_names_the_worker_and_the_node_it_is_at(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, hold: RunHold
) -> None:
    hold.save(jobs_database, [NodeWrite(node_id=workflow.nodes["greet"], status="running")])
    before = run_row(connection, hold.run_id)["heartbeat_at"]
    assert hold.beat(jobs_database) is Verdict.OURS
    stored = run_row(connection, hold.run_id)
    assert stored["run_worker_id"] == "lf-worker/tester:1"
    assert stored["active_node_id"] == workflow.nodes["greet"]
    assert stored["heartbeat_at"] > before


@pytest.mark.parametrize("scope", ["run", "agent", "system"])
def test_a_kill_switch_is_noticed_at_the_next_heartbeat(
    jobs_database: Database, connection: Connection, seeded: Seeded, hold: RunHold, scope: str
) -> None:
    agent = make_agent(connection, "Nia")
    update(connection, "lenses.workflow_runs", hold.run_id, ai_lenser_id=agent)
    target = {"run": hold.run_id, "agent": agent, "system": None}[scope]
    rows(
        connection,
        "INSERT INTO admin.kill_switches (scope, target_id, operator_id, reason) VALUES (%s, %s, %s, 'test')",
        scope,
        target,
        seeded.people["ada"],
    )
    assert hold.beat(jobs_database) is Verdict.KILLED


@BOTH_PLATFORMS
@pytest.mark.parametrize(
    ("status", "begun", "open_"),
    [
        ("completed", "skipped", "skipped"),
        ("failed", "failed", "skipped"),
        ("cancelled", "cancelled", "cancelled"),
        ("timed_out", "timed_out", "skipped"),
    ],
)
def test_the_end_of_a_run_ends_all_its_nodes(
    jobs_database: Database,
    connection: Connection,
    workflow: SeededWorkflow,
    claimed: Claimed,
    hold: RunHold,
    status: str,
    begun: str,
    open_: str,
) -> None:
    hold.save(jobs_database, [NodeWrite(node_id=workflow.nodes["start"], status="completed")])
    hold.save(jobs_database, [NodeWrite(node_id=workflow.nodes["greet"], status="running")])
    claimed.finish(lambda tx: finish_run(tx, hold.run_id, status, result={"answer": 1}))
    ended = run_row(connection, hold.run_id)
    assert (ended["status"], ended["metadata"]["result"], ended["run_worker_id"]) == (
        status,
        {"answer": 1},
        None,
    )
    assert ended["completed_at"] >= ended["started_at"]
    statuses = node_statuses(connection, hold.run_id)
    found = [statuses[workflow.nodes[name]] for name in ("start", "greet", "join")]
    assert found == ["completed", begun, open_]


@BOTH_PLATFORMS
def test_a_cancelled_run_is_never_overwritten_and_its_nodes_end_too(
    jobs_database: Database,
    connection: Connection,
    workflow: SeededWorkflow,
    claimed: Claimed,
    hold: RunHold,
) -> None:
    hold.save(jobs_database, [NodeWrite(node_id=workflow.nodes["greet"], status="running")])
    update(connection, "lenses.workflow_runs", hold.run_id, status="cancelled")
    assert hold.close_ended(jobs_database)
    with pytest.raises(StaleClaim):
        claimed.finish(lambda tx: finish_run(tx, hold.run_id, "completed"))
    assert run_row(connection, hold.run_id)["status"] == "cancelled"
    assert set(node_statuses(connection, hold.run_id).values()) == {"cancelled"}
    types = rows(connection, "SELECT type FROM lenses.workflow_run_events")
    assert [row["type"] for row in types] == ["run.cancelled", "run.status.changed"]


def test_a_run_that_has_ended_is_not_ended_again(
    jobs_database: Database, connection: Connection, hold: RunHold, claimed: Claimed
) -> None:
    claimed.finish(lambda tx: finish_run(tx, hold.run_id, "completed"))
    with jobs_database.transaction() as tx:
        assert not finish_run(tx, hold.run_id, "failed")
    assert run_row(connection, hold.run_id)["status"] == "completed"
    assert not hold.close_ended(jobs_database)


def test_a_run_ends_only_in_a_way_that_runs_end(connection: Connection, hold: RunHold) -> None:
    assert sqlstate_of(connection, "SELECT worker.finish_workflow_run(%s, 'running')", hold.run_id) == "22023"


@BOTH_PLATFORMS
def test_a_run_that_fails_is_a_dead_letter_with_its_reason(
    jobs_database: Database, connection: Connection, claimed: Claimed, hold: RunHold
) -> None:
    error = GiveUp("workflow.invalid", "two nodes wait for each other")
    claimed.finish(lambda tx: fail_run(tx, hold.run_id, error), outcome="failed", error=error)
    (letter,) = rows(connection, "SELECT * FROM lenses.workflow_run_dead_letters")
    assert (letter["error_code"], letter["error_message"]) == (error.code, error.message)
    assert run_row(connection, hold.run_id)["metadata"]["result"]["error"]["code"] == error.code
    assert call(connection, "SELECT event_type FROM automation.events") == "workflow_run.failed"


@BOTH_PLATFORMS
def test_a_schedule_learns_how_its_run_ended(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    schedule = make_schedule(connection, workflow.workflow_id)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, schedule_id=schedule)
    must_claim(jobs_database).finish(lambda tx: finish_run(tx, run_id, "completed", result="done"))
    (stored,) = rows(connection, "SELECT * FROM lenses.workflow_schedules")
    assert stored["last_completed_at"] is not None
    assert (stored["last_result"]["status"], stored["last_result"]["result"]) == ("completed", "done")


def test_a_run_that_was_put_down_can_be_woken(
    jobs_database: Database, connection: Connection, claimed: Claimed, hold: RunHold
) -> None:
    assert not wake_run(connection, hold.run_id)
    claimed.release()
    rows(
        connection,
        "UPDATE dramatiq.queue SET message_id = %s, mtime = now() + interval '1 hour'"
        " WHERE message ->> 'actor_name' = 'execute_workflow_run'",
        claimed.message_id,
    )
    assert wake_run(connection, hold.run_id)
    assert call(connection, "SELECT bool_and(mtime <= now()) FROM dramatiq.queue")
    assert not wake_run(connection, uuid4())
