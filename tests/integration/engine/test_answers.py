"""Nodes that wait for people: what they say, and what becomes of those who are not heard."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.engine import waits
from app.local.platform import Seeded
from app.local.workflows import SeededWorkflow
from app.platform.parked_nodes import Answered, Taken, fetch_parked, put_down
from app.platform.workflows import RunHold
from tests.integration.engine.runs import answered, await_end, await_rest, begin, node, waiting
from tests.integration.workflow_rows import BOTH_PLATFORMS, node_statuses, update
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.environment(WORKER_WORKFLOW_HEARTBEAT_MS="100")


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


def test_an_answer_that_comes_just_before_its_run_is_put_down_is_heard(
    worker: None, jobs_database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []

    def put_down_after_an_answer(database: Database, hold: RunHold, worked_ms: int) -> Taken:
        (question,) = fetch_parked(database, hold.run_id)
        outcomes.append(answered(database, hold.run_id, question.node_id, "in time"))
        return put_down(database, hold, worked_ms)

    monkeypatch.setattr(waits, "put_down", put_down_after_an_answer)
    workflow, run_id = begin(connection, waiting("human_input"))
    await_end(connection, run_id)
    assert outcomes == [Answered.ANSWERED]
    assert node(connection, workflow.nodes["n1"])["output_data"]["answer"] == "in time"


def test_answers_that_come_at_any_moment_are_heard_each_by_its_own_run(
    worker: None, jobs_database: Database, connection: Connection
) -> None:
    begun = [begin(connection, waiting("human_input")) for _ in range(20)]

    def answer_at_once(number: int, workflow: SeededWorkflow, run_id: UUID) -> None:
        node_id = workflow.nodes["n1"]
        eventually(
            lambda: answered(jobs_database, run_id, node_id, number) is Answered.ANSWERED, what="the question"
        )

    with ThreadPoolExecutor(4) as people:
        list(people.map(lambda pair: answer_at_once(pair[0], *pair[1]), enumerate(begun)))
    for _, run_id in begun:
        await_end(connection, run_id)
    heard = [node(connection, workflow.nodes["n1"])["output_data"]["answer"] for workflow, _ in begun]
    assert heard == list(range(20))


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
