"""Nodes that wait: their run is put down, nothing is held meanwhile, and it goes on when it should."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.nodes.task import Task
from app.platform.parked_nodes import Answered
from app.settings import settings
from app.workflow import Output
from tests.integration.engine.runs import (
    answered,
    await_end,
    await_rest,
    begin,
    do,
    is_put_down,
    node,
    told,
    waiting,
    waiting_nodes,
)
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    age,
    claim,
    must_claim,
    node_statuses,
    rows,
    run_row,
    update,
)
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.environment(WORKER_WORKFLOW_HEARTBEAT_MS="100")


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
