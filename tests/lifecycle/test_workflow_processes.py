"""What happens to workflow runs when processes die or are deployed in the middle of them."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import Seeded, seed
from app.local.postgres import EmbeddedPostgres, default_test_directory
from app.local.provider_server import ProviderServer
from app.local.services.messengers import Messengers
from app.local.workflows import EdgeSeed, NodeSeed, SeededWorkflow, enqueue_workflow_run, make_workflow
from app.migrations import migrate
from tests.databases import connect_as_worker
from tests.lifecycle.processes import Fleet
from tests.sql import call
from tests.waiting import eventually

pytestmark = pytest.mark.lifecycle

INPUTS = {"name": "Ada", "language": "English"}
ENVIRONMENT = {
    "PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED": "true",
    "WORKER_WORKFLOW_HEARTBEAT_MS": "200",
    "WORKER_WORKFLOW_MAX_PARALLEL_NODES": "5",
    "WORKER_JOB_MAX_DEATHS": "100",
    "WORKER_BROKER_LEASE_SECONDS": "1.5",
}
IN_FLIGHT = 5


def lens() -> NodeSeed:
    return NodeSeed({"modelId": "gpt-4o"}, lens="greeting")


def layered(session: Connection, *, layers: int, width: int) -> SeededWorkflow:
    """Layers of lens nodes, each node fed by two of the layer before it."""
    nodes = {f"n{layer}-{place}": lens() for layer in range(layers) for place in range(width)}
    edges = [
        EdgeSeed(f"n{layer - 1}-{(place + step) % width}", f"n{layer}-{place}", f"from{step}")
        for layer in range(1, layers)
        for place in range(width)
        for step in (0, 1)
    ]
    return make_workflow(session, nodes, edges)


def status_of(session: Connection, run_id: UUID) -> str:
    return str(call(session, "SELECT status FROM lenses.workflow_runs WHERE id = %s", run_id))


def completed(session: Connection, run_id: UUID) -> int:
    count = "SELECT count(*) FROM lenses.workflow_node_results WHERE run_id = %s AND status = 'completed'"
    return int(call(session, count, run_id))


def await_success(session: Connection, run_id: UUID) -> None:
    eventually(lambda: status_of(session, run_id) == "completed", what="the end of the run")


def test_a_run_killed_at_random_points_buys_nothing_twice_but_what_was_in_flight(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    dice = random.Random()
    provider.latency_seconds = 0.05
    workflow = layered(connection, layers=10, width=5)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    kills = 0
    while status_of(connection, run_id) != "completed":
        doomed = workers.start(**ENVIRONMENT)
        enough = len(provider.calls) + dice.randint(5, 20)
        eventually(
            lambda enough=enough: (
                len(provider.calls) >= enough or status_of(connection, run_id) == "completed"
            ),
            what="some calls, or the run's end",
        )
        kills += status_of(connection, run_id) != "completed"
        doomed.kill()
    assert kills >= 2
    assert completed(connection, run_id) == 50
    assert 50 <= len(provider.calls) <= 50 + kills * IN_FLIGHT
    ends = "SELECT count(*) FROM lenses.workflow_run_events WHERE type = %s"
    assert call(connection, ends, "node.completed") == 50
    assert call(connection, ends, "run.completed") == 1
    assert call(connection, "SELECT deaths FROM worker.claims") in (kills - 1, kills)


def test_a_deploy_in_mid_run_lets_nodes_finish_and_the_next_process_goes_on(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    workflow = layered(connection, layers=3, width=2)
    provider.hold()
    worker = workers.start(**ENVIRONMENT)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    provider.wait_for_calls(2)
    worker.terminate()
    taking = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'lf-worker taker' AND datname = current_database()"
    )
    eventually(lambda: call(connection, taking) == 0, what="the end of taking")
    provider.release()
    assert worker.wait() == 0
    assert completed(connection, run_id) == 2
    assert call(connection, "SELECT state FROM worker.claims") == "handed_back"
    workers.start(**ENVIRONMENT)
    await_success(connection, run_id)
    assert len(provider.calls) == 6
    assert call(connection, "SELECT deaths + errors FROM worker.claims") == 0


def test_a_deploy_that_has_no_time_for_a_long_node_hands_its_run_back(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    workflow = make_workflow(connection, {"long": lens()}, [])
    provider.hold()
    worker = workers.start(shutdown_timeout_ms=500, **ENVIRONMENT)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    provider.wait_for_calls(1)
    worker.terminate()
    assert worker.wait() == 0
    assert call(connection, "SELECT state FROM worker.claims") == "handed_back"
    provider.release()
    workers.start(**ENVIRONMENT)
    await_success(connection, run_id)
    assert len(provider.calls) == 2
    assert call(connection, "SELECT deaths + errors FROM worker.claims") == 0


def test_a_frozen_worker_can_not_write_over_its_successor(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    workflow = layered(connection, layers=2, width=2)
    provider.hold()
    frozen = workers.start(**ENVIRONMENT)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    provider.wait_for_calls(2)
    frozen.pause()
    workers.start(**ENVIRONMENT)
    provider.wait_for_calls(4)
    provider.release()
    await_success(connection, run_id)
    before = call(connection, "SELECT count(*) FROM lenses.workflow_run_events")
    frozen.resume()
    eventually(lambda: "result dropped" in workers.log_path.read_text(), what="the stale attempt's end")
    assert call(connection, "SELECT count(*) FROM lenses.workflow_run_events") == before
    assert len(provider.calls) == 6


def test_a_run_that_waits_outlives_the_worker_that_put_it_down(
    workers: Fleet, provider: ProviderServer, connection: Connection, seeded: Seeded
) -> None:
    nodes = {"before": lens(), "ask": NodeSeed({"nodeType": "approval"}), "after": lens()}
    workflow = make_workflow(connection, nodes, [EdgeSeed("before", "ask"), EdgeSeed("ask", "after")])
    first = workers.start(**ENVIRONMENT)
    run_id = enqueue_workflow_run(connection, workflow.workflow_id, inputs=INPUTS)
    state = "SELECT state FROM worker.claims"
    eventually(lambda: call(connection, state) == "handed_back", what="the run being put down")
    first.kill()
    workers.start(**ENVIRONMENT)
    answer = "SELECT worker.answer_node(%s, %s, 'true')"
    assert call(connection, answer, run_id, workflow.nodes["ask"]) == "answered"
    await_success(connection, run_id)
    assert len(provider.calls) == 2
    assert call(connection, "SELECT deaths + errors FROM worker.claims") == 0


def test_a_restart_of_postgres_in_mid_run_buys_nothing_twice(
    provider: ProviderServer, workers: Fleet
) -> None:
    """On a server of its own, since the others share theirs."""
    with (
        TemporaryDirectory(dir=default_test_directory()) as data,
        EmbeddedPostgres(Path(data) / "server") as server,
    ):
        migrate(server.dsn, platform=True)
        seed(server.dsn)
        with closing(connect_as_worker(server.dsn)) as session:
            workflow = layered(session, layers=3, width=2)
            run_id = enqueue_workflow_run(session, workflow.workflow_id, inputs=INPUTS)
        provider.hold()
        workers.start(DATABASE_URL=server.dsn, **ENVIRONMENT)
        provider.wait_for_calls(2)
        server.restart()
        provider.release()
        with closing(eventually(lambda: _reconnect(server.dsn), what="the server's return")) as session:
            await_success(session, run_id)
            assert call(session, "SELECT deaths + errors FROM worker.claims") == 0
    assert len(provider.calls) == 6


def _reconnect(dsn: str) -> Connection | None:
    try:
        return connect_as_worker(dsn)
    except psycopg2.OperationalError:
        return None


def test_a_worker_that_dies_while_it_sends_leaves_no_message_to_be_sent_twice(
    workers: Fleet, connection: Connection, seeded: Seeded
) -> None:
    with Messengers() as messengers:
        environment = {
            **ENVIRONMENT,
            **messengers.environment(),
            "WORKER_OUTBOUND_ALLOWED_HOSTS": "127.0.0.1",
            "WORKER_MAIL_FROM": "no-reply@lenserfight.example",
        }
        mail = {"nodeType": "email_send", "to": "ada@example.org", "subject": "s", "bodyTemplate": "hello"}
        chat = {"nodeType": "discord_notify", "webhookUrl": messengers.discord_webhook, "text": "hello"}
        workflow = make_workflow(connection, {"mail": NodeSeed(mail), "chat": NodeSeed(chat)}, [])
        messengers.hold()
        doomed = workers.start(**environment)
        run_id = enqueue_workflow_run(connection, workflow.workflow_id)
        messengers.wait_for_requests(2)
        doomed.kill()
        messengers.release()
        workers.start(**environment)
        eventually(lambda: status_of(connection, run_id) == "failed", what="the end of the run")
        # Resend knows the mail by its key; of Discord nobody can know.
        keys = [request.headers.get("idempotency-key") for request in messengers.requests]
        assert keys.count(f"{run_id}:{workflow.nodes['mail']}") == 2
        assert messengers.messages["resend"] == ["hello"]
        assert len(messengers.messages["discord"]) <= 1
        error = "SELECT error_message FROM lenses.workflow_node_results WHERE node_id = %s"
        assert call(connection, error, workflow.nodes["mail"]) is None
        assert "outcome_unknown" in str(call(connection, error, workflow.nodes["chat"]))
