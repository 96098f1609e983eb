"""A workflow run from its row to its end, in a real worker, with a provider on a real wire."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.claims import Claim
from app.database import Database
from app.engine import Ending, execute
from app.errors import StaleClaim
from app.local.platform import Seeded, ensure_model
from app.local.provider_server import ProviderServer
from app.local.teams import make_agent
from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from app.platform.workflows import WorkflowRun
from tests.integration.conftest import running_worker
from tests.integration.workflow_rows import (
    BOTH_PLATFORMS,
    claim,
    hold_of,
    must_claim,
    node_statuses,
    rows,
    run_row,
    update,
)
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("provider")

GPT = {"modelId": "gpt-4o"}
ENDED = ("completed", "failed", "cancelled", "timed_out")


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.workflow_runs"):
        yield


def lens(**config: Any) -> NodeSeed:
    return NodeSeed({**GPT, **config}, lens="greeting")


def chain(length: int) -> tuple[dict[str, NodeSeed], list[EdgeSeed]]:
    nodes = {f"n{number}": lens() for number in range(length)}
    return nodes, [EdgeSeed(f"n{number}", f"n{number + 1}", "name") for number in range(length - 1)]


INPUTS = {"name": "Ada", "language": "English", "text": "all of it"}


def ended(connection: Connection, run_id: UUID) -> dict[str, Any]:
    row: dict[str, Any] = {}

    def look() -> bool:
        row.update(run_row(connection, run_id))
        return row["status"] in ENDED

    eventually(look, what="the run's end")
    return row


def by_name(connection: Connection, workflow: SeededWorkflow, run_id: UUID) -> dict[str, str]:
    statuses = node_statuses(connection, run_id)
    return {name: statuses[node_id] for name, node_id in workflow.nodes.items()}


def node(connection: Connection, workflow: SeededWorkflow, name: str) -> dict[str, Any]:
    statement = "SELECT * FROM lenses.workflow_node_results WHERE node_id = %s"
    return rows(connection, statement, workflow.nodes[name])[0]


def told(connection: Connection, run_id: UUID, workflow: SeededWorkflow) -> list[str]:
    """The run's log, `type` or `type name-of-node`, in order."""
    names = {str(node_id): name for name, node_id in workflow.nodes.items()}
    log = "SELECT type, payload FROM lenses.workflow_run_events WHERE run_id = %s ORDER BY event_id"
    return [
        f"{row['type']} {names.get(row['payload'].get('nodeId'), '')}".strip()
        for row in rows(connection, log, run_id)
    ]


def run_of(claimed: Claim[dict[str, Any]]) -> WorkflowRun:
    return WorkflowRun.model_validate(claimed.job)


def do(database: Database, claimed: Claim[dict[str, Any]]) -> Ending | None:
    return execute(database, run_of(claimed), hold_of(claimed))


class Executing:
    """An execution on a thread of the test's own."""

    def __init__(self, database: Database, claimed: Claim[dict[str, Any]]) -> None:
        self.ending: Ending | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._do, args=(database, claimed), daemon=True)
        self._thread.start()

    def _do(self, database: Database, claimed: Claim[dict[str, Any]]) -> None:
        try:
            self.ending = do(database, claimed)
        except BaseException as error:
            self.error = error

    def join(self, seconds: float = 10.0) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the execution did not end"


@BOTH_PLATFORMS
def test_a_branching_run_goes_one_way_and_tells_of_it_in_order(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    workflow = make_workflow(connection)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "completed"
    assert by_name(connection, workflow, run_id) == {
        "start": "completed",
        "decide": "completed",
        "greet": "completed",
        "summarise": "skipped",
        "join": "completed",
    }
    calls = rows(connection, "SELECT kind, job, error_code FROM worker.provider_calls")
    assert calls == [{"kind": "workflow_run", "job": run_id, "error_code": None}] * len(provider.calls)
    assert told(connection, run_id, workflow) == [
        "run.started",
        "node.started start",
        "node.completed start",
        "node.started decide",
        "node.completed decide",
        "node.skipped summarise",
        "node.started greet",
        "node.completed greet",
        "node.started join",
        "node.completed join",
        "run.completed",
        "run.status.changed",
    ]
    assert [said.prompt for said in provider.calls] == ["Greet Ada in English. Tone: ."]
    greeting = node(connection, workflow, "greet")
    assert greeting["output_data"]["output"] == "gpt-4o says: Greet Ada in English. Tone: ."
    assert greeting["provider_route"] == {"providerId": "openai", "modelKey": "gpt-4o"}
    assert greeting["resolved_input_snapshot"]["name"] == "Ada"
    assert greeting["input_tokens"] > 0
    assert greeting["duration_ms"] is not None
    assert call(connection, "SELECT outcome FROM worker.claims") == "succeeded"
    followers = "SELECT count(*) FROM realtime.messages WHERE topic = %s"
    assert call(connection, followers, f"workflow-run-{run_id}") > 0


@BOTH_PLATFORMS
def test_a_graph_that_can_not_be_run_fails_before_the_start_with_all_its_problems(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    nodes = {"rocket": NodeSeed({"nodeType": "launch_rocket"}), "lost": NodeSeed({}), "fine": lens()}
    workflow = make_workflow(connection, nodes, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    failed = ended(connection, run_id)
    error = failed["metadata"]["result"]["error"]
    assert (failed["status"], error["code"]) == ("failed", "workflow.invalid")
    assert "'rocket' has the unknown type 'launch_rocket'" in error["message"]
    assert "'lost' has neither a type nor a lens" in error["message"]
    assert set(node_statuses(connection, run_id).values()) == {"skipped"}
    assert provider.calls == []


def test_a_failed_node_fails_the_run_and_skips_what_comes_after(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("gpt-4o", ["400"])
    nodes, edges = chain(3)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    failed = ended(connection, run_id)
    assert failed["status"] == "failed"
    assert "'n0' ended as failed: provider." in failed["metadata"]["result"]["error"]["message"]
    assert list(by_name(connection, workflow, run_id).values()) == ["failed", "skipped", "skipped"]
    types = told(connection, run_id, workflow)
    assert types[:3] == ["run.started", "node.started n0", "node.failed n0"]
    assert set(types[3:5]) == {"node.skipped n1", "node.skipped n2"}
    assert types[5:] == ["run.failed", "run.status.changed"]
    assert call(connection, "SELECT error_code FROM worker.claims") == "workflow.node_failed"


def test_a_node_is_tried_again_as_its_policy_says(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("gpt-4o", ["500", "503", "ok"])
    retrying = lens(retry={"attempts": 3, "backoffMs": 10})
    workflow = make_workflow(connection, {"stubborn": retrying}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "completed"
    assert node(connection, workflow, "stubborn")["retry_count"] == 2
    assert node(connection, workflow, "stubborn")["error_message"] is None
    assert told(connection, run_id, workflow) == [
        "run.started",
        "node.started stubborn",
        *("node.waiting stubborn", "node.retried stubborn") * 2,
        "node.completed stubborn",
        "run.completed",
        "run.status.changed",
    ]


def test_a_node_without_a_policy_is_tried_once(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("gpt-4o", ["500"])
    workflow = make_workflow(connection, {"once": lens()}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "failed"
    assert len(provider.calls) == 1


def test_a_node_that_takes_too_long_has_timed_out_and_the_run_has_failed(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    ensure_model(connection, "sc-hang", "openai")
    workflow = make_workflow(connection, {"slow": lens(modelId="sc-hang", timeoutMs=200)}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "failed"
    assert by_name(connection, workflow, run_id) == {"slow": "timed_out"}
    assert "node.timed_out slow" in told(connection, run_id, workflow)


def test_an_unbound_placeholder_blocks_its_node(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    workflow = make_workflow(connection, {"greet": lens()}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"name": "Ada"})
    assert ended(connection, run_id)["status"] == "failed"
    blocked = node(connection, workflow, "greet")
    assert (blocked["status"], blocked["error_message"]) == ("blocked", "placeholder_unbound")
    assert blocked["output_data"] == {"placeholder": "language"}
    assert provider.calls == []


def test_an_agents_memory_goes_before_the_prompt(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    agent = make_agent(connection, "Nia")
    rows(
        connection,
        """
        WITH kept AS (
            INSERT INTO agents.memory_profiles (ai_lenser_id, name) VALUES (%s, 'all')
            RETURNING id, ai_lenser_id
        )
        INSERT INTO agents.memories (profile_id, ai_lenser_id, scope, source, content)
        SELECT id, ai_lenser_id, 'global', 'user', 'likes short answers' FROM kept
        """,
        agent,
    )
    workflow = make_workflow(connection, {"greet": lens()}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS, ai_lenser_id=agent)
    assert ended(connection, run_id)["status"] == "completed"
    assert provider.calls[0].prompt.startswith("## Context Memory\n")
    assert "likes short answers" in provider.calls[0].prompt


@pytest.mark.parametrize(
    ("config", "run_model", "expected"),
    [
        ({"modelId": "openai:gpt-4o"}, None, "gpt-4o"),
        ({"modelId": ""}, "gpt-4o", "gpt-4o"),
        ({"modelId": "gpt-4o"}, "claude-sonnet-4-6", "gpt-4o"),
    ],
)
def test_a_nodes_model_is_its_own_or_the_runs(
    worker: None,
    connection: Connection,
    provider: ProviderServer,
    config: dict[str, str],
    run_model: str | None,
    expected: str,
) -> None:
    workflow = make_workflow(connection, {"greet": lens(**config)}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS, global_model_id=run_model)
    assert ended(connection, run_id)["status"] == "completed"
    assert provider.calls[0].model == expected


def test_no_more_nodes_are_at_work_than_allowed_and_all_that_may_are(
    database: Database, connection: Connection, provider: ProviderServer, configure: Callable[..., None]
) -> None:
    configure(WORKER_WORKFLOW_MAX_PARALLEL_NODES="4")
    workflow = make_workflow(connection, {f"n{number}": lens() for number in range(10)}, [])
    enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    provider.hold()
    executing = Executing(database, must_claim(database))
    provider.wait_for_calls(4)
    provider.release()
    executing.join()
    assert executing.ending is not None, executing.error
    assert executing.ending.counts == {"completed": 10}
    assert provider.max_in_flight == 4


def test_what_is_completed_is_not_asked_for_again(
    database: Database, connection: Connection, provider: ProviderServer
) -> None:
    nodes, edges = chain(3)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    first = must_claim(database)
    provider.script("gpt-4o", ["ok", "hang"])
    left_behind = Executing(database, first)
    provider.wait_for_calls(2)
    second = claim(database, message=first.message_id)
    assert second is not None
    ending = do(database, second)
    assert ending is not None
    assert ending.counts == {"completed": 3}
    assert len(provider.calls) == 4
    assert "run.recovered" in told(connection, run_id, workflow)
    left_behind.join()
    assert isinstance(left_behind.error, StaleClaim)


def test_a_run_that_is_asked_for_again_keeps_what_is_completed(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("gpt-4o", ["ok", "400"])
    nodes, edges = chain(3)
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "failed"
    update(connection, "lenses.workflow_runs", run_id, status="queued")
    eventually(lambda: run_row(connection, run_id)["status"] == "completed", what="the second try's end")
    assert set(by_name(connection, workflow, run_id).values()) == {"completed"}
    assert len(provider.calls) == 4


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


def test_a_kill_switch_cancels_the_run(
    worker: None, connection: Connection, provider: ProviderServer, seeded: Seeded
) -> None:
    provider.hold()
    workflow = make_workflow(connection, {"greet": lens()}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    provider.wait_for_calls(1)
    rows(
        connection,
        "INSERT INTO admin.kill_switches (scope, target_id, operator_id, reason) VALUES ('run', %s, %s, 'x')",
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
    assert node(connection, workflow, "greet")["error_message"] == "budget_exceeded"
    assert provider.calls == []


def test_an_empty_graph_is_completed(worker: None, connection: Connection) -> None:
    run_id = enqueue_workflow_run(connection, make_workflow(connection, {}, []).workflow_id)
    assert ended(connection, run_id)["status"] == "completed"


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
    assert node(connection, workflow, "patient")["waiting_reason"] == "retry_backoff"
    with running_worker(broker):
        assert ended(connection, run_id)["status"] == "completed"
    assert len(provider.calls) == 2


def test_one_pass_over_triggers_and_merges(worker: None, connection: Connection) -> None:
    nodes = {
        "form": NodeSeed({"nodeType": "form_input_trigger", "fields": [{"key": "name", "required": True}]}),
        "event": NodeSeed({"nodeType": "event_trigger", "eventType": "battle_event"}),
        "route": NodeSeed(
            {
                "nodeType": "switch",
                "cases": [{"label": "ada", "operator": "equals", "value": "Ada", "inputPath": "name"}],
            }
        ),
        "on": NodeSeed({"nodeType": "pass_through"}),
        "all": NodeSeed({"nodeType": "merge", "mode": "combine"}),
    }
    edges = [
        EdgeSeed("form", "route"),
        EdgeSeed("form", "on"),
        EdgeSeed("event", "all", "a"),
        EdgeSeed("on", "all", "b"),
    ]
    workflow = make_workflow(connection, nodes, edges)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "completed"
    assert node(connection, workflow, "form")["output_data"]["formData"] == {"name": "Ada"}
    assert node(connection, workflow, "route")["output_data"]["matchedBranch"] == "ada"
    merged = node(connection, workflow, "all")["output_data"]["merged"]
    assert (merged["eventType"], merged["formData"]) == ("battle_event", {"name": "Ada"})
