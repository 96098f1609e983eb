"""Workflows within workflows: started once, waited for, and ended with their parent."""

from __future__ import annotations

from uuid import uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.workflows import enqueue_workflow_run
from tests.integration.engine.families import calling, children, doubling, end, looping
from tests.integration.engine.runs import do, ended, node
from tests.integration.workflow_rows import BOTH_PLATFORMS, claim, must_claim, rows, update
from tests.sql import call

pytestmark = pytest.mark.environment(WORKER_RETRY_MIN_BACKOFF_MS="1")


@BOTH_PLATFORMS
def test_a_node_runs_another_workflow_and_gives_its_result(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = calling(connection, child.workflow_id)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"item": 7})
    assert ended(connection, run_id)["status"] == "completed"
    (made,) = children(connection, run_id)
    assert (made["trigger_mode"], made["recursion_depth"], made["status"]) == ("subflow", 1, "completed")
    assert made["triggered_by"] is not None
    given = node(connection, workflow.nodes["call"])["output_data"]
    assert (given["result"], given["output"]) == ("got 7", "got 7")
    assert given["workflowRunId"] == str(made["id"])
    assert node(connection, workflow.nodes["after"])["output_data"]["value"] == "got 7"
    # It took no turn of the run's message for a death or an error.
    assert rows(connection, "SELECT attempt, outcome FROM worker.claims WHERE job = %s", made["id"])


def test_a_mapping_says_what_the_other_workflow_gets(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = calling(connection, child.workflow_id)
    path = f"{workflow.nodes['start']}.order.lines[1]"
    update(
        connection,
        "lenses.workflow_nodes",
        workflow.nodes["call"],
        config={
            "node_type": "sub_workflow",
            "param_overrides": {
                "__workflowId": str(child.workflow_id),
                "__inputMapping": f'{{"item": "{path}", "who": "name", "n": 3}}',
            },
        },
    )
    inputs = {"order": {"lines": ["a", "b"]}, "name": "Ada"}
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=inputs)
    assert ended(connection, run_id)["status"] == "completed"
    assert children(connection, run_id)[0]["context_inputs"] == {"item": "b", "who": "Ada", "n": 3}


def test_a_failed_child_fails_the_node_with_its_reason(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = calling(connection, child.workflow_id)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"item": "bad"})
    assert ended(connection, run_id)["status"] == "failed"
    error = node(connection, workflow.nodes["call"])["error_message"]
    assert error.startswith("child_failed: run ")
    assert "stopped: a bad item" in error


@pytest.mark.parametrize(
    ("workflow_id", "error"),
    [(None, "unknown_workflow: there is no such workflow"), ("grace", "forbidden: the workflow belongs")],
)
def test_only_workflows_of_the_same_owner_are_run(
    worker: None, connection: Connection, workflow_id: str | None, error: str
) -> None:
    other = doubling(connection, owner=workflow_id).workflow_id if workflow_id else uuid4()
    workflow = calling(connection, other)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"item": 1})
    assert ended(connection, run_id)["status"] == "failed"
    assert error in node(connection, workflow.nodes["call"])["error_message"]
    assert children(connection, run_id) == []


def test_a_workflow_that_calls_itself_ends(worker: None, connection: Connection) -> None:
    workflow = calling(connection, uuid4())
    config = {"nodeType": "sub_workflow", "workflowId": str(workflow.workflow_id), "maxDepth": 2}
    update(connection, "lenses.workflow_nodes", workflow.nodes["call"], config=config)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"item": 1})
    failed = ended(connection, run_id)
    assert failed["status"] == "failed"
    assert "too_deep" in failed["metadata"]["result"]["error"]["message"]
    assert call(connection, "SELECT max(recursion_depth) FROM lenses.workflow_runs") == 2


def test_an_attempt_that_died_leaves_one_child_which_the_next_one_finds(
    database: Database, connection: Connection
) -> None:
    child = doubling(connection)
    workflow = calling(connection, child.workflow_id)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"item": 1})
    message = uuid4()
    first = claim(database, hint=run_id, message=message)
    assert first is not None
    started = "SELECT worker.start_child_runs(%s, %s, %s, ARRAY['{}'::jsonb], 1, true, 3)"
    call(connection, started, run_id, workflow.nodes["call"], child.workflow_id)
    # As after kill -9: the node started its child, and nothing was written of that.
    second = claim(database, hint=run_id, message=message)
    assert second is not None
    assert do(database, second) is None
    assert len(children(connection, run_id)) == 1


def test_a_child_that_ends_before_its_parent_is_put_down_is_not_waited_for(
    database: Database, connection: Connection
) -> None:
    child = doubling(connection)
    workflow = calling(connection, child.workflow_id)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"item": 1})
    claimed = must_claim(database, hint=run_id)
    started = "SELECT worker.start_child_runs(%s, %s, %s, ARRAY['{}'::jsonb], 1, true, 3)"
    call(connection, started, run_id, workflow.nodes["call"], child.workflow_id)
    end(connection, children(connection, run_id)[0]["id"])
    rows(
        connection,
        "INSERT INTO worker.parked_nodes (run_id, node_id, reason) VALUES (%s, %s, 'external_callback')",
        run_id,
        workflow.nodes["call"],
    )
    assert call(connection, "SELECT due_at <= clock_timestamp() FROM worker.parked_nodes")
    assert do(database, claimed) is not None


@BOTH_PLATFORMS
@pytest.mark.parametrize("status", ["cancelled", "timed_out"])
def test_children_are_cancelled_with_their_parent(
    database: Database, connection: Connection, status: str
) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, concurrency=2)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, 2, 3]})
    assert do(database, must_claim(database, hint=run_id)) is None
    update(connection, "lenses.workflow_runs", run_id, status=status)
    assert [made["status"] for made in children(connection, run_id)] == ["cancelled", "cancelled"]
    call(connection, "SELECT worker.tend_child_runs()")
    assert len(children(connection, run_id)) == 2, "a child was started for a run that has ended"


def test_children_of_a_run_without_a_budget_have_none(database: Database, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, concurrency=1)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1]})
    assert do(database, must_claim(database, hint=run_id)) is None
    assert [made["budget_credits"] for made in children(connection, run_id)] == [None]


def test_what_children_spent_counts_for_their_parents_budget(
    database: Database, connection: Connection
) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, concurrency=1)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, 2]})
    update(connection, "lenses.workflow_runs", run_id, budget_credits=10, spent_credits=1)
    claimed = must_claim(database, hint=run_id)
    assert do(database, claimed) is None
    first = children(connection, run_id)[0]
    update(connection, "lenses.workflow_runs", first["id"], spent_credits=4)
    end(connection, first["id"])
    assert [made["budget_credits"] for made in children(connection, run_id)] == [9, 5]
    assert call(connection, "SELECT worker.fn_spent_with_children(%s)", run_id) == 5
