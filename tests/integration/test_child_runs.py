"""Workflows within workflows: started once, waited for, in order, and ended with their parent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.claims import Claim
from app.database import Database
from app.engine import execute
from app.local.platform import Seeded
from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from app.platform.workflows import WorkflowRun
from tests.integration.conftest import running_worker
from tests.integration.workflow_rows import BOTH_PLATFORMS, claim, hold_of, must_claim, rows, run_row, update
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.environment(WORKER_RETRY_MIN_BACKOFF_MS="1")

ENDED = ("completed", "failed", "cancelled", "timed_out")


@pytest.fixture
def worker(broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.workflow_runs", threads=3):
        yield


def doubling(connection: Connection, **more: Any) -> SeededWorkflow:
    """A workflow that gives its input `item` again, and fails for those that are `bad`."""
    nodes = {
        "start": NodeSeed({"nodeType": "manual_trigger"}),
        "check": NodeSeed({"nodeType": "if_condition", "condition": "item == 'bad'"}),
        "fail": NodeSeed({"nodeType": "stop_return", "status": "failed", "message": "a bad item"}),
        "answer": NodeSeed({"nodeType": "stop_return", "returnValue": "got [[START.item]]"}),
    }
    edges = [
        EdgeSeed("start", "check"),
        EdgeSeed("check", "fail", "x", "branch", {"type": "equals", "value": "true"}),
        EdgeSeed("check", "answer", "x", "branch", {"type": "equals", "value": "false"}),
    ]
    workflow = make_workflow(connection, nodes, edges, **more)
    config = {"nodeType": "stop_return", "returnValue": f"got [[{workflow.nodes['start']}.item]]"}
    update(connection, "lenses.workflow_nodes", workflow.nodes["answer"], config=config)
    return workflow


def calling(connection: Connection, child: UUID, **config: Any) -> SeededWorkflow:
    call_it = NodeSeed({"nodeType": "sub_workflow", "workflowId": str(child), **config})
    after = NodeSeed({"nodeType": "json_transform", "path": "result"})
    nodes = {"start": NodeSeed({"nodeType": "manual_trigger"}), "call": call_it, "after": after}
    return make_workflow(connection, nodes, [EdgeSeed("start", "call"), EdgeSeed("call", "after")])


def looping(connection: Connection, child: UUID, **config: Any) -> SeededWorkflow:
    node = {"nodeType": "loop_map", "arrayPath": "list", "workflowId": str(child), **config}
    nodes = {"start": NodeSeed({"nodeType": "manual_trigger"}), "each": NodeSeed(node)}
    return make_workflow(connection, nodes, [EdgeSeed("start", "each")])


def ended(connection: Connection, run_id: UUID) -> dict[str, Any]:
    eventually(lambda: run_row(connection, run_id)["status"] in ENDED, what="the run's end")
    return run_row(connection, run_id)


def node(connection: Connection, workflow: SeededWorkflow, name: str) -> dict[str, Any]:
    statement = "SELECT * FROM lenses.workflow_node_results WHERE node_id = %s"
    return rows(connection, statement, workflow.nodes[name])[0]


def children(connection: Connection, run_id: UUID) -> list[dict[str, Any]]:
    return rows(
        connection,
        "SELECT * FROM lenses.workflow_runs WHERE parent_run_id = %s ORDER BY metadata ->> 'item'",
        run_id,
    )


def do(database: Database, claimed: Claim[dict[str, Any]]) -> Any:
    return execute(database, WorkflowRun.model_validate(claimed.job), hold_of(claimed))


def end(connection: Connection, run_id: UUID, status: str = "completed") -> None:
    """End a run as a worker does, without doing it."""
    rows(
        connection,
        "UPDATE lenses.workflow_runs SET status = 'running', started_at = now() WHERE id = %s",
        run_id,
    )
    call(connection, "SELECT worker.finish_workflow_run(%s, %s)", run_id, status)


@BOTH_PLATFORMS
def test_a_node_runs_another_workflow_and_gives_its_result(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = calling(connection, child.workflow_id)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"item": 7})
    assert ended(connection, run_id)["status"] == "completed"
    (made,) = children(connection, run_id)
    assert (made["trigger_mode"], made["recursion_depth"], made["status"]) == ("subflow", 1, "completed")
    assert made["triggered_by"] is not None
    given = node(connection, workflow, "call")["output_data"]
    assert (given["result"], given["output"]) == ("got 7", "got 7")
    assert given["workflowRunId"] == str(made["id"])
    assert node(connection, workflow, "after")["output_data"]["value"] == "got 7"
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
    error = node(connection, workflow, "call")["error_message"]
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
    assert error in node(connection, workflow, "call")["error_message"]
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


@BOTH_PLATFORMS
def test_a_loop_gives_the_results_in_the_order_of_the_items(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, itemVariable="item", concurrency=3)
    items = list(range(8))
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": items, "more": "yes"})
    assert ended(connection, run_id)["status"] == "completed"
    given = node(connection, workflow, "each")["output_data"]
    assert given["items"] == [f"got {item}" for item in items]
    assert (given["totalCount"], given["processedCount"], given["failedCount"]) == (8, 8, 0)
    inputs = [made["context_inputs"] for made in children(connection, run_id)]
    assert sorted(given["index"] for given in inputs) == items
    assert {given["more"] for given in inputs} == {"yes"}


def test_a_loop_without_a_workflow_gives_the_list(worker: None, connection: Connection) -> None:
    node_config = NodeSeed({"nodeType": "loop_map", "arrayPath": "list", "maxItems": 2})
    workflow = make_workflow(connection, {"each": node_config}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, 2, 3]})
    assert ended(connection, run_id)["status"] == "completed"
    given = node(connection, workflow, "each")["output_data"]
    assert (given["items"], given["totalCount"], given["truncated"]) == ([1, 2], 3, True)
    assert children(connection, run_id) == []


def test_items_that_fail_are_left_out_if_the_loop_says_so(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, onItemError="skip")
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, "bad", 3]})
    assert ended(connection, run_id)["status"] == "completed"
    given = node(connection, workflow, "each")["output_data"]
    assert given["items"] == ["got 1", "got 3"]
    assert [failed["index"] for failed in given["failed"]] == [1]
    assert "a bad item" in given["failed"][0]["error"]


def test_after_a_failed_item_no_other_is_started(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, concurrency=1)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, "bad", 3, 4]})
    assert ended(connection, run_id)["status"] == "failed"
    assert node(connection, workflow, "each")["error_message"].startswith("item 1: child_failed")
    assert len(children(connection, run_id)) == 2


def test_no_more_children_run_at_once_than_the_loop_says(database: Database, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, concurrency=2)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, 2, 3]})
    assert do(database, must_claim(database, hint=run_id)) is None
    first = children(connection, run_id)
    assert [made["context_inputs"]["item"] for made in first] == [1, 2]
    end(connection, first[0]["id"])
    assert [made["context_inputs"]["item"] for made in children(connection, run_id)] == [1, 2, 3]


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


def test_the_sweep_makes_up_for_what_nobody_was_told(database: Database, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, concurrency=1)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, 2]})
    message = uuid4()
    claimed = claim(database, hint=run_id, message=message)
    assert claimed is not None
    assert do(database, claimed) is None
    rows(connection, "ALTER TABLE lenses.workflow_runs DISABLE TRIGGER lf_worker_tell_family")
    end(connection, children(connection, run_id)[0]["id"])
    assert len(children(connection, run_id)) == 1
    assert call(connection, "SELECT worker.tend_child_runs()") == 1
    end(connection, children(connection, run_id)[1]["id"])
    call(connection, "SELECT worker.tend_child_runs()")
    assert call(connection, "SELECT due_at <= clock_timestamp() FROM worker.parked_nodes")
    again = claim(database, hint=run_id, message=message)
    assert again is not None
    assert do(database, again).status == "completed"


def test_a_run_asked_for_again_keeps_children_that_completed_and_goes_on_with_the_others(
    worker: None, connection: Connection
) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, concurrency=1)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, "bad", 3]})
    assert ended(connection, run_id)["status"] == "failed"
    before = [made["id"] for made in children(connection, run_id)]
    update(connection, "lenses.workflow_nodes", child.nodes["fail"], config={"nodeType": "noop"})
    update(connection, "lenses.workflow_runs", run_id, status="queued")
    eventually(lambda: run_row(connection, run_id)["status"] == "completed", what="the second try")
    after = [made["id"] for made in children(connection, run_id)]
    assert after[:2] == before
    assert len(after) == 3
    assert node(connection, workflow, "each")["output_data"]["processedCount"] == 3


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


def test_batches_are_forgotten_long_after_their_run(database: Database, connection: Connection) -> None:
    child = doubling(connection)
    workflow = calling(connection, child.workflow_id)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"item": 1})
    assert do(database, must_claim(database, hint=run_id)) is None
    rows(connection, "UPDATE worker.child_batches SET started_at = now() - interval '40 days'")
    assert call(connection, "SELECT worker.prune_child_runs(interval '30 days')") == 0
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    assert call(connection, "SELECT worker.prune_child_runs(interval '30 days')") == 1
    assert call(connection, "SELECT count(*) FROM worker.child_runs") == 0
