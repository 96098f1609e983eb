"""Nodes that wait: their run is put down, nothing is held meanwhile, and it goes on when it should."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from pydantic import JsonValue

from app.broker import LeaseBroker
from app.claims import Claim
from app.database import Database
from app.engine import Ending, execute
from app.local.platform import Seeded
from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from app.nodes import registry
from app.nodes.task import Task
from app.platform.parked_nodes import Answered, answer_node
from app.platform.workflows import WorkflowRun
from app.settings import settings
from app.workflow import Output, Park, Usage, WaitingReason
from tests.integration.conftest import running_worker
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    age,
    claim,
    hold_of,
    must_claim,
    node_statuses,
    rows,
    run_row,
    update,
    wake_run,
)
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.environment(WORKER_WORKFLOW_HEARTBEAT_MS="100")

START = NodeSeed({"nodeType": "manual_trigger"})


@pytest.fixture
def worker(broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.workflow_runs"):
        yield


@pytest.fixture
def make_type(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Task[Any]], Output]], None]:
    """A type of node for one test."""
    monkeypatch.setattr(registry, "_types", dict(registry.node_types()))
    return lambda name, run: registry.node_type(name)(run)


def waiting(node_type: str, **config: Any) -> NodeSeed:
    return NodeSeed({"nodeType": node_type, **config})


def begin(connection: Connection, *nodes: NodeSeed, **columns: Any) -> tuple[SeededWorkflow, UUID]:
    """A run of a trigger and the nodes after it in a row, called n1, n2 and so on."""
    named = {"n0": START} | {f"n{place}": node for place, node in enumerate(nodes, 1)}
    edges = [EdgeSeed(f"n{place - 1}", f"n{place}") for place in range(1, len(named))]
    workflow = make_workflow(connection, named, edges)
    return workflow, enqueue_workflow_run(
        connection, workflow.workflow_id, inputs={"topic": "sea"}, **columns
    )


def answered(
    database: Database, run_id: UUID, node_id: UUID, answer: JsonValue, by: UUID | None = None
) -> Answered:
    with database.transaction() as tx:
        return answer_node(tx, run_id, node_id, answer, by)


def do(database: Database, claimed: Claim[dict[str, Any]]) -> Ending | None:
    return execute(database, WorkflowRun.model_validate(claimed.job), hold_of(claimed))


def is_put_down(connection: Connection) -> bool:
    return bool(call(connection, "SELECT bool_and(state = 'handed_back') FROM worker.claims"))


def await_rest(connection: Connection) -> None:
    eventually(lambda: is_put_down(connection), what="the run being put down")


def await_end(connection: Connection, run_id: UUID, status: str = "completed") -> dict[str, Any]:
    ends = ("completed", "failed", "cancelled", "timed_out")
    eventually(lambda: run_row(connection, run_id)["status"] in ends, what="the end of the run")
    ended = run_row(connection, run_id)
    assert ended["status"] == status
    return ended


def node(connection: Connection, node_id: UUID) -> dict[str, Any]:
    return rows(connection, "SELECT * FROM lenses.workflow_node_results WHERE node_id = %s", node_id)[0]


def told(connection: Connection, run_id: UUID) -> list[str]:
    log = "SELECT type FROM lenses.workflow_run_events WHERE run_id = %s ORDER BY event_id"
    return [row["type"] for row in rows(connection, log, run_id)]


def waiting_nodes(connection: Connection) -> list[dict[str, Any]]:
    return rows(connection, "SELECT * FROM worker.waiting_nodes")


def parts_of_the_run(run_id: UUID) -> list[str]:
    """The threads that a run at work has."""
    return [
        t.name for t in threading.enumerate() if t.name == f"pulse of {run_id}" or "workflow node" in t.name
    ]


@BOTH_PLATFORMS
def test_a_run_that_waits_holds_no_thread_no_connection_and_no_message(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    workflow, run_id = begin(connection, waiting("human_input", prompt="Which?"), waiting("pass_through"))
    await_rest(connection)
    eventually(lambda: not parts_of_the_run(run_id), what="the end of its threads")
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lf-worker jobs'"
        " AND datname = current_database() AND state <> 'idle'"
    )
    assert call(connection, busy) == 0
    message = "SELECT state::text, mtime > now() + interval '1 hour' AS later FROM dramatiq.queue"
    assert [dict(row) for row in rows(connection, message)] == [{"state": "queued", "later": True}]
    parked = node(connection, workflow.nodes["n1"])
    assert (parked["status"], parked["waiting_reason"]) == ("awaiting_dependency", "human_input")
    assert parked["output_data"]["ask"]["prompt"] == "Which?"
    (shown,) = waiting_nodes(connection)
    assert (shown["node_id"], shown["reason"]) == (workflow.nodes["n1"], "human_input")
    assert run_row(connection, run_id)["status"] == "running"
    assert told(connection, run_id)[-1] == "node.waiting"

    assert answered(jobs_database, run_id, workflow.nodes["n1"], "the blue one") is Answered.ANSWERED
    await_end(connection, run_id)
    assert node(connection, workflow.nodes["n2"])["output_data"]["output"] == "the blue one"
    assert waiting_nodes(connection) == []
    assert told(connection, run_id).count("run.started") == 1
    assert "run.recovered" not in told(connection, run_id)
    assert call(connection, "SELECT deaths + errors FROM worker.claims") == 0


def test_a_delay_ends_by_itself_and_passes_on_what_came_in(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    workflow, run_id = begin(
        connection, waiting("human_input"), waiting("wait_delay", delayMs=300), waiting("pass_through")
    )
    await_rest(connection)
    answered(jobs_database, run_id, workflow.nodes["n1"], {"mood": "calm"})
    await_end(connection, run_id)
    waited = node(connection, workflow.nodes["n2"])
    assert waited["output_data"]["delayMs"] == 300
    assert (waited["completed_at"] - waited["started_at"]).total_seconds() >= 0.3
    assert node(connection, workflow.nodes["n3"])["output_data"]["output"] == '{"mood":"calm"}'
    assert call(connection, "SELECT attempt FROM worker.claims") == 3


def test_the_time_of_waiting_is_none_of_the_runs_own_time(
    worker: None, connection: Connection, configure: Callable[..., None]
) -> None:
    configure(WORKER_WORKFLOW_TIMEOUT_MS="400")
    workflow, run_id = begin(connection, waiting("delay", delayMs=700))
    await_end(connection, run_id)
    waited = node(connection, workflow.nodes["n1"])
    assert (waited["completed_at"] - waited["started_at"]).total_seconds() > 0.4


def test_the_time_of_working_before_a_wait_is(
    database: Database,
    connection: Connection,
    configure: Callable[..., None],
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    make_type("slow", lambda _: Output(text=str(threading.Event().wait(5))))
    workflow, run_id = begin(connection, waiting("approval"), waiting("slow"))
    claimed = must_claim(database)
    assert do(database, claimed) is None
    rows(
        connection,
        "UPDATE worker.run_graphs SET worked_ms = %s WHERE true",
        settings().workflow_timeout_ms - 300,
    )
    answered(database, run_id, workflow.nodes["n1"], True)
    again = claim(database, message=claimed.message_id)
    assert again is not None
    ending = do(database, again)
    assert ending is not None
    assert ending.counts == {"completed": 2, "timed_out": 1}


def test_what_was_finished_before_a_wait_is_not_done_again(
    worker: None,
    jobs_database: Database,
    connection: Connection,
    make_type: Callable[[str, Callable[[Task[Any]], Output]], None],
) -> None:
    begun: list[str] = []

    def note(task: Task[Any]) -> Output:
        begun.append(task.node.label or "")
        return Output()

    make_type("note", note)
    workflow, run_id = begin(connection, waiting("note"), waiting("approval"), waiting("note"))
    await_rest(connection)
    answered(jobs_database, run_id, workflow.nodes["n2"], {"approved": True})
    await_end(connection, run_id)
    assert begun == ["n1", "n3"]


@pytest.mark.parametrize(
    ("config", "run_status", "statuses"),
    [
        ({}, "failed", ["failed", "skipped"]),
        ({"onReject": "stop"}, "completed", ["completed", "skipped"]),
        ({"onReject": "continue"}, "completed", ["completed", "completed"]),
    ],
    ids=["fail", "stop", "continue"],
)
def test_a_rejection_ends_as_the_node_says(
    worker: None,
    jobs_database: Database,
    connection: Connection,
    seeded: Seeded,
    config: dict[str, str],
    run_status: str,
    statuses: list[str],
) -> None:
    workflow, run_id = begin(connection, waiting("human_approval", **config), waiting("pass_through"))
    await_rest(connection)
    ada = seeded.people["ada"]
    answer = {"approved": False, "comment": "too long"}
    assert answered(jobs_database, run_id, workflow.nodes["n1"], answer, ada) is Answered.ANSWERED
    await_end(connection, run_id, run_status)
    found = node_statuses(connection, run_id)
    assert [found[workflow.nodes[name]] for name in ("n1", "n2")] == statuses
    data = node(connection, workflow.nodes["n1"])["output_data"]
    assert (data["branch"], data["comment"], data["answeredBy"]) == ("rejected", "too long", str(ada))


@pytest.mark.parametrize(
    ("config", "run_status", "answer"),
    [({}, "failed", None), ({"onTimeout": "continue", "default": "blue"}, "completed", "blue")],
    ids=["fail", "continue"],
)
def test_a_question_that_nobody_answers_ends_as_the_node_says(
    worker: None, connection: Connection, config: dict[str, str], run_status: str, answer: str | None
) -> None:
    workflow, run_id = begin(
        connection, waiting("human_input", expiresInMs=100, choices=["red", "blue"], **config)
    )
    await_end(connection, run_id, run_status)
    ended = node(connection, workflow.nodes["n1"])
    assert ended["error_message"] == (None if answer else "no_answer")
    assert ended["output_data"].get("answer") == answer


def test_an_answer_that_does_not_fit_is_asked_for_again(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    fields = [{"name": "amount", "type": "number", "max": 10, "required": True}]
    workflow, run_id = begin(connection, waiting("human_input", fields=fields, expiresInMs=60_000))
    node_id = workflow.nodes["n1"]
    await_rest(connection)
    assert answered(jobs_database, run_id, node_id, {"amount": 99}) is Answered.ANSWERED
    asked_again = "SELECT ask ->> 'problem' FROM worker.waiting_nodes"
    problem = eventually(lambda: call(connection, asked_again), what="the question again")
    assert problem == "amount: at most 10"
    await_rest(connection)
    assert answered(jobs_database, run_id, node_id, {"amount": 9, "more": 1}) is Answered.ANSWERED
    await_end(connection, run_id)
    assert node(connection, node_id)["output_data"]["amount"] == 9
    assert "more" not in node(connection, node_id)["output_data"]


@BOTH_PLATFORMS
def test_of_answers_at_once_one_counts_and_the_others_are_told(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    workflow, run_id = begin(connection, waiting("human_input"))
    node_id = workflow.nodes["n1"]
    await_rest(connection)
    with ThreadPoolExecutor(8) as people:
        outcomes = list(people.map(lambda n: answered(jobs_database, run_id, node_id, n), range(1, 9)))
    assert outcomes.count(Answered.ANSWERED) == 1
    assert set(outcomes) == {Answered.ANSWERED, Answered.ALREADY_ANSWERED}
    await_end(connection, run_id)
    winner = outcomes.index(Answered.ANSWERED) + 1
    assert node(connection, node_id)["output_data"]["answer"] == winner
    assert answered(jobs_database, run_id, node_id, 0) is Answered.ALREADY_ANSWERED


def test_answers_that_come_while_a_run_is_being_put_down_are_heard(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    begun = [begin(connection, waiting("human_input")) for _ in range(20)]

    def answer_at_once(workflow: SeededWorkflow, run_id: UUID) -> None:
        node_id = workflow.nodes["n1"]
        eventually(
            lambda: answered(jobs_database, run_id, node_id, 1) is Answered.ANSWERED, what="the question"
        )

    with ThreadPoolExecutor(4) as people:
        list(people.map(lambda pair: answer_at_once(*pair), begun))
    for _, run_id in begun:
        await_end(connection, run_id)


def test_who_answers_what_does_not_wait_is_told_why_not(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    workflow, run_id = begin(connection, waiting("wait_delay", delayMs=60_000))
    await_rest(connection)
    answers = [
        answered(jobs_database, run_id, workflow.nodes["n1"], True),
        answered(jobs_database, run_id, workflow.nodes["n0"], True),
        answered(jobs_database, uuid4(), workflow.nodes["n0"], True),
    ]
    assert answers == [Answered.NEEDS_NO_ANSWER, Answered.NOT_WAITING, Answered.NOT_WAITING]
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    assert answered(jobs_database, run_id, workflow.nodes["n1"], True) is Answered.RUN_ENDED


def test_a_run_that_is_cancelled_while_it_waits_ends_at_once(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    workflow, run_id = begin(connection, waiting("approval"), waiting("pass_through"))
    await_rest(connection)
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    assert set(node_statuses(connection, run_id).values()) == {"completed", "cancelled"}
    assert told(connection, run_id)[-2:] == ["run.cancelled", "run.status.changed"]
    assert call(connection, "SELECT count(*) FROM dramatiq.queue") == 0
    assert waiting_nodes(connection) == []
    answer = answered(jobs_database, run_id, workflow.nodes["n1"], True)
    assert answer is Answered.RUN_ENDED


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


def test_a_run_that_waits_is_no_prey_of_sweeps(worker: None, connection: Connection) -> None:
    _, run_id = begin(connection, waiting("approval"))
    await_rest(connection)
    age(connection, run_id, "3 hours")
    assert call(connection, "SELECT count(*) FROM worker.recover_workflow_runs('w', 90000, 3)") == 0
    assert call(connection, "SELECT worker.touch_waiting_workflow_runs()") == 1
    assert call(connection, "SELECT public.fn_timeout_stale_runs(1)") == 0
    assert call(connection, "SELECT worker.add_missing_tickets('workflow_run')") == 0
    assert run_row(connection, run_id)["status"] == "running"
    assert is_put_down(connection)


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
