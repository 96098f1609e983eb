"""Loops that run a workflow for each item: in order, so many at once, and what is left of those that fail."""

from __future__ import annotations

from uuid import uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from tests.integration.engine.families import calling, children, doubling, end, looping
from tests.integration.engine.runs import do, ended, node
from tests.integration.workflow_rows import BOTH_PLATFORMS, claim, must_claim, rows, run_row, update
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.environment(WORKER_RETRY_MIN_BACKOFF_MS="1")


@BOTH_PLATFORMS
def test_a_loop_gives_the_results_in_the_order_of_the_items(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, itemVariable="item", concurrency=3)
    items = list(range(8))
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": items, "more": "yes"})
    assert ended(connection, run_id)["status"] == "completed"
    given = node(connection, workflow.nodes["each"])["output_data"]
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
    given = node(connection, workflow.nodes["each"])["output_data"]
    assert (given["items"], given["totalCount"], given["truncated"]) == ([1, 2], 3, True)
    assert children(connection, run_id) == []


def test_items_that_fail_are_left_out_if_the_loop_says_so(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, onItemError="skip")
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, "bad", 3]})
    assert ended(connection, run_id)["status"] == "completed"
    given = node(connection, workflow.nodes["each"])["output_data"]
    assert given["items"] == ["got 1", "got 3"]
    assert [failed["index"] for failed in given["failed"]] == [1]
    assert "a bad item" in given["failed"][0]["error"]


def test_after_a_failed_item_no_other_is_started(worker: None, connection: Connection) -> None:
    child = doubling(connection)
    workflow = looping(connection, child.workflow_id, concurrency=1)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"list": [1, "bad", 3, 4]})
    assert ended(connection, run_id)["status"] == "failed"
    assert node(connection, workflow.nodes["each"])["error_message"].startswith("item 1: child_failed")
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
    assert node(connection, workflow.nodes["each"])["output_data"]["processedCount"] == 3


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
