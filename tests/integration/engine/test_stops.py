"""Runs that stop before they are done: cancelled, out of time or money, or handed on at a shutdown."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.platform import Seeded
from app.local.provider_server import ProviderServer
from app.local.provider_usage import Used
from app.local.workflows import enqueue_workflow_run, make_workflow
from tests.integration.conftest import running_worker
from tests.integration.engine.runs import INPUTS, by_name, chain, ended, lens, node, told
from tests.integration.workflow_rows import BOTH_PLATFORMS, rows, run_row, update
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("provider")


@BOTH_PLATFORMS
def test_a_cancelled_run_stops_within_a_heartbeat_and_stays_cancelled(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.hold()
    nodes, edges = chain(2)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    provider.wait_for_calls(1)
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    closed = "SELECT outcome = 'gone' FROM worker.claims"
    eventually(lambda: call(connection, closed), what="the end of the claim")
    provider.release()
    provider.wait_until_idle()
    assert by_name(connection, workflow, run_id) == {"n0": "cancelled", "n1": "cancelled"}
    assert run_row(connection, run_id)["status"] == "cancelled"
    assert told(connection, run_id, workflow)[-2:] == ["run.cancelled", "run.status.changed"]
    assert len(provider.calls) == 1


def test_what_was_bought_for_a_run_that_was_cancelled_meanwhile_is_written_down(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.hold()
    nodes = {name: lens() for name in ("a", "b", "c")}
    workflow = make_workflow(connection, nodes, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    provider.wait_for_calls(3)
    update(connection, "lenses.workflow_runs", run_id, status="cancelled")
    closed = "SELECT outcome = 'gone' FROM worker.claims"
    eventually(lambda: call(connection, closed), what="the end of the claim")
    assert call(connection, "SELECT count(*) FROM worker.provider_calls") == 0
    provider.release()
    costs = "SELECT count(*) FROM worker.provider_calls WHERE job = %s AND cost_usd > 0"
    eventually(lambda: call(connection, costs, run_id) == 3, what="the calls")


def test_a_kill_switch_cancels_the_run(
    worker: None, connection: Connection, provider: ProviderServer, seeded: Seeded
) -> None:
    provider.hold()
    workflow = make_workflow(connection, {"greet": lens()}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    provider.wait_for_calls(1)
    rows(
        connection,
        "INSERT INTO admin.kill_switches (scope, target_id, operator_id, reason)"
        " VALUES ('run', %s, %s, 'test')",
        run_id,
        seeded.people["ada"],
    )
    cancelled = ended(connection, run_id)
    provider.release()
    assert (cancelled["status"], cancelled["metadata"]["result"]["reason"]) == ("cancelled", "kill_switch")
    assert by_name(connection, workflow, run_id) == {"greet": "cancelled"}


def test_a_run_that_takes_too_long_has_timed_out(
    worker: None, connection: Connection, provider: ProviderServer, configure: Callable[..., None]
) -> None:
    configure(WORKER_WORKFLOW_TIMEOUT_MS="400")
    provider.hold()
    nodes, edges = chain(2)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    late = ended(connection, run_id)
    provider.release()
    assert late["status"] == "timed_out"
    assert "longer than 400 ms" in late["metadata"]["result"]["reason"]
    assert set(by_name(connection, workflow, run_id).values()) == {"timed_out"}


def test_a_run_over_its_budget_starts_nothing(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    workflow = make_workflow(connection, {"greet": lens()}, [])
    run_id = enqueue_workflow_run(
        connection, workflow.workflow_id, inputs=INPUTS, budget_credits=1, spent_credits=2
    )
    assert ended(connection, run_id)["status"] == "cancelled"
    assert node(connection, workflow.nodes["greet"])["error_message"] == "budget_exceeded"
    assert provider.calls == []


def test_a_run_whose_answers_have_cost_all_its_credits_asks_for_no_more(
    worker: None, connection: Connection, provider: ProviderServer, configure: Callable[..., None]
) -> None:
    configure(WORKER_CREDITS_PER_USD="1000")
    provider.meter("gpt-4o", *[Used(fresh=1_001)] * 4)  # 0.005005 USD each
    nodes, edges = chain(4)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS, budget_credits=10)
    stopped = ended(connection, run_id)
    assert (stopped["status"], stopped["spent_credits"]) == ("cancelled", 12)
    assert stopped["metadata"]["result"]["reason"] == "budget_exceeded"
    assert by_name(connection, workflow, run_id) == {
        "n0": "completed",
        "n1": "completed",
        "n2": "cancelled",
        "n3": "cancelled",
    }
    assert {node(connection, workflow.nodes[name])["error_message"] for name in ("n2", "n3")} == {
        "budget_exceeded"
    }
    assert len(provider.calls) == 2


def test_a_shutdown_lets_what_is_at_work_finish_and_hands_the_rest_back(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    nodes, edges = chain(2)
    workflow = make_workflow(connection, nodes, edges)
    provider.hold()
    with running_worker(broker, "actors.workflow_runs"):
        run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
        provider.wait_for_calls(1)
        timer = threading.Timer(0.3, provider.release)
        timer.start()
    assert by_name(connection, workflow, run_id) == {"n0": "completed", "n1": "awaiting_dependency"}
    assert call(connection, "SELECT state FROM worker.claims") == "handed_back"
    assert call(connection, "SELECT deaths + errors FROM worker.claims") == 0
    assert len(provider.calls) == 1
    timer.join()


def test_a_shutdown_does_not_wait_for_a_node_that_waits_for_its_next_try(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    provider.script("gpt-4o", ["500"])
    patient = lens(retry={"attempts": 2, "backoffMs": 60_000, "maxBackoffMs": 60_000})
    workflow = make_workflow(connection, {"patient": patient}, [])
    with running_worker(broker, "actors.workflow_runs"):
        run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
        eventually(lambda: by_name(connection, workflow, run_id) == {"patient": "retrying"}, what="the wait")
    assert call(connection, "SELECT state FROM worker.claims") == "handed_back"
    assert node(connection, workflow.nodes["patient"])["waiting_reason"] == "retry_backoff"
    with running_worker(broker):
        assert ended(connection, run_id)["status"] == "completed"
    assert len(provider.calls) == 2
