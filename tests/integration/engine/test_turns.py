"""The turns of a node that waits: when they come, in what time, and that none is lost or taken twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.errors import PutBack, RetryLater
from app.local.workflows import enqueue_workflow_run, make_workflow
from app.nodes.task import Task
from app.platform.parked_nodes import Answered
from app.workflow import Output, Park, Usage, WaitingReason
from tests.integration.engine.runs import (
    answered,
    await_end,
    await_rest,
    begin,
    do,
    node,
    told,
    waiting,
    waiting_nodes,
)
from tests.integration.workflow_rows import (
    claim,
    must_claim,
    run_row,
    wake_run,
)
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.environment(WORKER_WORKFLOW_HEARTBEAT_MS="100")


def test_a_parked_node_has_its_turn_while_others_are_at_work(
    worker: None,
    jobs_database: Database,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    release = threading.Event()
    make_type("slow", lambda _: Output(text=str(release.wait(20))))
    nodes = {"ask": waiting("approval"), "delay": waiting("wait", delayMs=50), "slow": waiting("slow")}
    workflow = make_workflow(connection, nodes, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    eventually(lambda: waiting_nodes(connection), what="the question")
    assert answered(jobs_database, run_id, workflow.nodes["ask"], True) is Answered.ANSWERED
    both = "SELECT count(*) FROM lenses.workflow_node_results WHERE status = 'completed'"
    eventually(lambda: call(connection, both) == 2, what="the ends of both")
    assert run_row(connection, run_id)["status"] == "running"
    assert call(connection, "SELECT attempt FROM worker.claims") == 1
    release.set()
    await_end(connection, run_id)


def test_a_worker_that_dies_beside_a_question_costs_neither_it_nor_its_answer(
    database: Database,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    turns: list[Any] = []

    def ask_and_die(task: Task[Any]) -> Output:
        turns.append(task.answer)
        if task.answer is None:
            raise Park(WaitingReason.HUMAN_INPUT, memo={"kept": 1})
        if len(turns) == 2:
            raise KeyboardInterrupt  # what a killed process leaves: its turn taken, nothing written
        return Output(data={"memo": task.memo, "said": task.answer["data"]})

    make_type("dying", ask_and_die)
    workflow, run_id = begin(connection, waiting("dying"))
    claimed = must_claim(database)
    assert do(database, claimed) is None
    answered(database, run_id, workflow.nodes["n1"], "yes")
    second = claim(database, message=claimed.message_id)
    assert second is not None
    with pytest.raises(KeyboardInterrupt):
        do(database, second)
    third = claim(database, message=claimed.message_id)
    assert third is not None
    ending = do(database, third)
    assert ending is not None
    assert ending.counts == {"completed": 2}
    data = node(connection, workflow.nodes["n1"])["output_data"]
    assert (data["memo"], data["said"]) == ({"kept": 1}, "yes")
    assert "run.recovered" in told(connection, run_id)


def test_a_node_that_waits_for_other_work_is_woken_without_an_answer(
    worker: None,
    jobs_database: Database,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    done = threading.Event()

    def look(task: Task[Any]) -> Output:
        looks = int((task.memo or {}).get("looks", 0)) + 1
        if not done.is_set():
            raise Park(WaitingReason.EXTERNAL_CALLBACK, memo={"looks": looks})
        return Output(data={"looks": looks, "answer": task.answer})

    make_type("other_work", look)
    nodes = {"work": waiting("other_work"), "person": waiting("human_input")}
    workflow = make_workflow(connection, nodes, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    await_rest(connection)
    assert wake_run(connection, run_id)
    two_looks = "SELECT memo ->> 'looks' FROM worker.parked_nodes WHERE node_id = %s"
    eventually(lambda: call(connection, two_looks, workflow.nodes["work"]) == "2", what="another look")
    await_rest(connection)
    done.set()
    assert wake_run(connection, run_id, workflow.nodes["work"])
    eventually(lambda: node(connection, workflow.nodes["work"])["status"] == "completed", what="its end")
    assert node(connection, workflow.nodes["work"])["output_data"]["looks"] == 3
    assert node(connection, workflow.nodes["person"])["status"] == "awaiting_dependency"


@pytest.mark.parametrize(("attempts", "calls"), [(1, 1), (2, 2)])
def test_a_node_whose_thread_does_not_come_back_has_timed_out(
    worker: None,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
    attempts: int,
    calls: int,
) -> None:
    release, ended = threading.Event(), threading.Semaphore(0)

    def hang(_: Task[Any]) -> Output:
        release.wait(20)
        ended.release()
        return Output(text="late")

    make_type("hang", hang)
    retry = {"attempts": attempts, "backoffMs": 1}
    workflow, run_id = begin(connection, waiting("hang", timeoutMs=50, retry=retry))
    await_end(connection, run_id, "failed")
    ended_node = node(connection, workflow.nodes["n1"])
    assert (ended_node["status"], ended_node["error_message"]) == ("timed_out", "timed out after 50 ms")
    assert ended_node["retry_count"] == calls - 1
    release.set()
    for _ in range(calls):
        assert ended.acquire(timeout=10)
    assert node(connection, workflow.nodes["n1"]) == ended_node


def test_woken_nodes_wait_in_line_where_there_is_no_room(
    database: Database, connection: Connection, configure: Callable[..., None]
) -> None:
    configure(WORKER_WORKFLOW_MAX_PARALLEL_NODES="1")
    nodes = {f"ask{number}": waiting("approval") for number in range(4)}
    workflow = make_workflow(connection, nodes, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    claimed = must_claim(database)
    assert do(database, claimed) is None
    for node_id in workflow.nodes.values():
        assert answered(database, run_id, node_id, True) is Answered.ANSWERED
    again = claim(database, message=claimed.message_id)
    assert again is not None
    ending = do(database, again)
    assert ending is not None
    assert ending.counts == {"completed": 4}


@pytest.mark.environment(WORKER_WORKFLOW_MAX_PARALLEL_NODES="1")
def test_a_retry_that_is_due_waits_for_room_too(
    worker: None,
    jobs_database: Database,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    tries: list[None] = []
    began, release = threading.Event(), threading.Event()

    def fail_once(_: Task[Any]) -> Output:
        tries.append(None)
        if len(tries) == 1:
            raise RetryLater("provider.unavailable", "not yet")
        return Output()

    def take_long(_: Task[Any]) -> Output:
        began.set()
        return Output(text=str(release.wait(20)))

    make_type("flaky", fail_once)
    make_type("slow", take_long)
    flaky = waiting("flaky", retry={"attempts": 2, "backoffMs": 100})
    workflow = make_workflow(
        connection, {"ask": waiting("approval"), "flaky": flaky, "slow": waiting("slow")}, []
    )
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    assert began.wait(20)
    assert answered(jobs_database, run_id, workflow.nodes["ask"], True) is Answered.ANSWERED
    eventually(lambda: node(connection, workflow.nodes["ask"])["status"] == "queued", what="a turn")
    assert len(tries) == 1
    release.set()
    await_end(connection, run_id)
    assert len(tries) == 2


def test_a_node_that_its_provider_had_wait_goes_on_with_the_same_try(
    worker: None,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    busy = RetryLater("provider.rate_limited", "busy")
    outcomes: list[Exception] = [busy, PutBack("provider.waiting", "not yet"), busy]

    def ask(_: Task[Any]) -> Output:
        if outcomes:
            raise outcomes.pop(0)
        return Output()

    make_type("asking", ask)
    workflow, run_id = begin(connection, waiting("asking", retry={"attempts": 2, "backoffMs": 1}))
    await_end(connection, run_id, "failed")
    assert not outcomes
    assert node(connection, workflow.nodes["n1"])["retry_count"] == 1
    assert [event for event in told(connection, run_id, workflow) if event.endswith("n1")] == [
        "node.started n1",
        "node.waiting n1",
        "node.retried n1",
        "node.waiting n1",
        "node.retried n1",
        "node.failed n1",
    ]


def test_each_turn_of_a_node_has_all_its_time(
    worker: None,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    never, release = threading.Event(), threading.Event()

    def rest_and_work(task: Task[Any]) -> Output:
        if task.memo is None:
            raise Park(WaitingReason.TIMER, timedelta(milliseconds=700))
        never.wait(0.9)  # beyond the limit of the first turn, within that of the second
        release.set()
        return Output()

    make_type("rest", rest_and_work)
    make_type("slow", lambda _: Output(text=str(release.wait(20))))
    nodes = {"rest": waiting("rest", timeoutMs=900), "slow": waiting("slow")}
    workflow = make_workflow(connection, nodes, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id)
    await_end(connection, run_id)
    assert call(connection, "SELECT attempt FROM worker.claims") == 1


def test_a_run_stops_before_the_next_node_once_its_budget_is_spent(
    worker: None,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    def spend(task: Task[Any]) -> Output:
        task.models.count(task.node, Usage("openai", "gpt-4o", cost_credits=3))
        return Output()

    make_type("spend", spend)
    workflow, run_id = begin(connection, *[waiting("spend")] * 3, budget_credits=5)
    ended = await_end(connection, run_id, "cancelled")
    assert ended["spent_credits"] == 6
    assert ended["metadata"]["result"]["reason"] == "budget_exceeded"
    last = node(connection, workflow.nodes["n3"])
    assert (last["status"], last["error_message"]) == ("cancelled", "budget_exceeded")
