"""`lf-worker workflows`, as a person uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from typer.testing import CliRunner, Result

from app.cli.workflows import app
from app.database import Database
from app.engine import execute
from app.errors import SettingsError
from app.local.platform import Seeded
from app.local.workflows import NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from app.platform.workflows import WorkflowRun
from tests.integration.workflow_rows import hold_of, must_claim
from tests.sql import call


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> str:
    refused = run(*arguments).exception
    assert isinstance(refused, SettingsError)
    return str(refused)


NODES = {
    "gate": NodeSeed({"nodeType": "approval", "prompt": "Send it?"}),
    "pick": NodeSeed({"nodeType": "human_input", "choices": ["red", "blue"]}),
    "later": NodeSeed({"nodeType": "wait_delay", "delayMs": 60_000}),
}


@pytest.fixture
def put_down(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> Callable[[], tuple[SeededWorkflow, UUID]]:
    def begin() -> tuple[SeededWorkflow, UUID]:
        workflow = make_workflow(connection, NODES, [])
        run_id = enqueue_workflow_run(connection, workflow.workflow_id)
        claimed = must_claim(jobs_database, hint=run_id)
        assert (
            execute(jobs_database, WorkflowRun.model_validate(claimed.job), hold_of(claimed), claimed.hand)
            is None
        )
        return workflow, run_id

    return begin


Begin = Callable[[], tuple[SeededWorkflow, UUID]]


def stored_answer(connection: Connection, node_id: UUID) -> Any:
    return call(connection, "SELECT answer FROM worker.parked_nodes WHERE node_id = %s", node_id)


def test_what_waits_is_listed_with_its_question(put_down: Begin) -> None:
    (_, run_id), _ = put_down(), put_down()
    listed = [json.loads(line) for line in run("waiting", "--run", run_id, "--json").output.splitlines()]
    assert {row["node"]: row["reason"] for row in listed} == {
        "gate": "human_input",
        "pick": "human_input",
        "later": "timer",
    }
    assert len(run("waiting", "--json").output.splitlines()) == 6
    assert "Send it?" in run("waiting").output.replace("\n", " ")


def test_a_node_is_answered_by_its_label_or_its_id(
    put_down: Begin, connection: Connection, seeded: Seeded
) -> None:
    workflow, run_id = put_down()
    ada = seeded.people["ada"]
    approved = run("answer", run_id, "gate", "--approve", "--comment", "fine", "--by", ada)
    assert approved.output == f"answered; run {run_id} goes on\n"
    assert stored_answer(connection, workflow.nodes["gate"]) == {"approved": True, "comment": "fine"}
    by = "SELECT answered_by FROM worker.parked_nodes WHERE node_id = %s"
    assert call(connection, by, workflow.nodes["gate"]) == ada
    run("answer", run_id, workflow.nodes["pick"], "--data", "red")
    assert stored_answer(connection, workflow.nodes["pick"]) == "red"


def test_what_can_not_be_answered_is_refused_with_the_reason(put_down: Begin) -> None:
    workflow, run_id = put_down()
    run("answer", run_id, "gate", "--reject")
    gate = workflow.nodes["gate"]
    assert "somebody has answered it already" in refusal("answer", run_id, gate, "--approve")
    assert "no node of run" in refusal("answer", run_id, "gate", "--approve")
    assert "waits for a time" in refusal("answer", run_id, "later", "--approve")
    assert "doesn't wait" in refusal("answer", run_id, uuid4(), "--approve")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "give an answer"),
        (("--approve", "--data", "1"), "give an answer"),
        (("--data", "1", "--comment", "x"), "put it into --data"),
        (("--data", "null"), "null is no answer"),
    ],
    ids=str,
)
def test_an_answer_is_said_in_one_way(dsn: str, options: tuple[str, ...], problem: str) -> None:
    assert problem in refusal("answer", uuid4(), uuid4(), *options)
    assert "is not an id" in refusal("answer", "x", uuid4(), "--approve")
