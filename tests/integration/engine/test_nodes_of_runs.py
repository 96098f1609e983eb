"""What a lens node is asked with, how often, for how long, and how many at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.platform import ensure_model
from app.local.provider_server import ProviderServer
from app.local.teams import make_agent
from app.local.workflows import enqueue_workflow_run, make_workflow
from tests.integration.engine.runs import (
    INPUTS,
    Executing,
    by_name,
    ended,
    lens,
    node,
    told,
)
from tests.integration.workflow_rows import (
    must_claim,
    rows,
)

pytestmark = pytest.mark.usefixtures("provider")


def test_a_node_is_tried_again_as_its_policy_says(
    worker: None, connection: Connection, provider: ProviderServer
) -> None:
    provider.script("gpt-4o", ["500", "503", "ok"])
    retrying = lens(retry={"attempts": 3, "backoffMs": 10})
    workflow = make_workflow(connection, {"stubborn": retrying}, [])
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    assert ended(connection, run_id)["status"] == "completed"
    assert node(connection, workflow.nodes["stubborn"])["retry_count"] == 2
    assert node(connection, workflow.nodes["stubborn"])["error_message"] is None
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
    blocked = node(connection, workflow.nodes["greet"])
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
