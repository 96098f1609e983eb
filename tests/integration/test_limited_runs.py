"""Lens runs under limits of their provider: in a real worker, with a provider on a real wire."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs, ensure_model
from app.local.provider_scenarios import RETRY_AFTER_SECONDS
from app.local.provider_server import ProviderServer
from app.local.seeds import seeded_id
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from tests.databases import connect_as_worker
from tests.doubles.otlp_endpoint import Collector
from tests.doubles.sentry_endpoint import sentry_on
from tests.integration.conftest import running_worker
from tests.sql import call
from tests.waiting import eventually

ONE_AT_A_TIME = json.dumps({"openai": {"concurrency": 1}})
TWO_AT_A_TIME = json.dumps({"openai": {"concurrency": 2}})
TEN_A_SECOND = json.dumps({"openai": {"requests_per_minute": 600}})


@pytest.fixture(params=["by nobody", "by OpenTelemetry", "by Sentry"])
def watched(request: pytest.FixtureRequest, configure: Callable[..., None]) -> Iterator[str]:
    """Who else watches the process: limits hold whoever does."""
    with ExitStack() as stack:
        if request.param == "by OpenTelemetry":
            configure(OTEL_EXPORTER_OTLP_ENDPOINT=stack.enter_context(Collector()).url)
        if request.param == "by Sentry":
            stack.enter_context(sentry_on())
        yield request.param


def wait_until(connection: Connection, status: str, runs: int) -> None:
    counted = f"SELECT count(*) = %s FROM execution.runs WHERE status = '{status}'"
    eventually(lambda: call(connection, counted, runs), what=f"{runs} runs {status}")


@pytest.mark.environment(WORKER_PROVIDER_LIMITS=ONE_AT_A_TIME, MISTRAL_API_KEY="planted-mistral-0123456789")
def test_a_run_that_waits_for_a_limit_stays_queued_and_takes_no_thread(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    ensure_model(connection, "mistral-small-latest", "mistral")
    provider.hold()
    enqueue_lens_runs(connection, 6, model="gpt-4o", inputs={"prompt": "hi"})
    with running_worker(broker, "actors.lens_runs", threads=5):
        provider.wait_for_calls(1)
        eventually(
            lambda: call(connection, "SELECT count(*) = 5 FROM worker.waiters"), what="the others wait"
        )
        assert call(connection, "SELECT count(*) FROM execution.runs WHERE status = 'running'") == 1
        enqueue_lens_run(connection, model="mistral-small-latest", inputs={"prompt": "hi"})
        provider.wait_for_calls(2)
        assert provider.calls[1].model == "mistral-small-latest"
        provider.release()
        wait_until(connection, "succeeded", 7)
    assert len(provider.calls) == 7
    assert call(connection, "SELECT max(attempt) FROM worker.claims") == 1
    assert call(connection, "SELECT count(*) FROM worker.passages") == 0
    assert call(connection, "SELECT count(*) FROM worker.waiters") == 0


@pytest.mark.environment(WORKER_PROVIDER_LIMITS=ONE_AT_A_TIME, WORKER_DATABASE_STATEMENT_TIMEOUT_MS="300")
def test_limits_that_could_not_be_written_at_boot_are_written_later_and_calls_count_meanwhile(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, dsn: str, seeded: Seeded
) -> None:
    with closing(connect_as_worker(dsn)) as other, other.cursor() as tx:
        tx.execute("BEGIN; LOCK TABLE worker.provider_limits IN SHARE MODE")
        with running_worker(broker, "actors.lens_runs"):
            assert call(connection, "SELECT count(*) FROM worker.provider_limits") == 0
            enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
            counted = "SELECT sum(calls) = 1 FROM worker.call_counts"
            eventually(lambda: call(connection, counted), what="a call that is counted")
            tx.execute("ROLLBACK")
            stand = "SELECT count(*) = 1 FROM worker.provider_limits"
            eventually(lambda: call(connection, stand), what="the limits")


@pytest.mark.usefixtures("watched")
def test_a_retry_after_holds_back_the_runs_of_all(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    provider.script("gpt-4o", ["429"])
    with running_worker(broker, "actors.lens_runs", threads=8):
        enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "first"})
        eventually(lambda: call(connection, "SELECT count(*) FROM worker.provider_pauses"), what="the pause")
        enqueue_lens_runs(connection, 5, model="gpt-4o", inputs={"prompt": "hi"})
        wait_until(connection, "succeeded", 6)
    first, *others = provider.calls
    assert min(other.received_at for other in others) - first.received_at >= RETRY_AFTER_SECONDS


@pytest.mark.usefixtures("watched")
@pytest.mark.environment(
    WORKER_BREAKER_MIN_CALLS="3", WORKER_BREAKER_OPEN_SECONDS="3", WORKER_RETRY_MIN_BACKOFF_MS="1500"
)
def test_a_model_that_fails_is_left_alone_and_its_runs_wait_instead_of_failing(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    provider.script("gpt-4o", ["500"] * 4)
    enqueue_lens_runs(connection, 4, model="gpt-4o", inputs={"prompt": "hi"})
    with running_worker(broker, "actors.lens_runs", threads=3):
        eventually(
            lambda: call(connection, "SELECT count(*) = 1 FROM worker.breakers WHERE state = 'open'"),
            what="an open breaker",
        )
        opened_at = time.monotonic()
        enqueue_lens_runs(connection, 3, model="gpt-4o", inputs={"prompt": "later"})
        wait_until(connection, "succeeded", 7)
        eventually(
            lambda: call(connection, "SELECT state = 'closed' FROM worker.breakers"), what="a closed breaker"
        )
    assert len(provider.calls) == 4 + 7
    # What had its passage when the breaker opened may still arrive.
    assert not [done for done in provider.calls if 0.5 < done.received_at - opened_at < 2.5]


def test_a_persons_key_that_is_refused_is_not_tried_again_and_the_platforms_goes_on(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    provider.script("gpt-4o", ["401"])
    byok = {"funding_source": "user_byok_cloud", "byok_key_id": seeded.keys["active"]}
    with running_worker(broker, "actors.lens_runs", threads=8):
        refused = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"}, **byok)
        wait_until(connection, "failed", 1)
        eventually(lambda: call(connection, "SELECT count(*) FROM worker.rejected_keys"), what="the key")
        spared = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"}, **byok)
        wait_until(connection, "failed", 2)
        enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
        wait_until(connection, "succeeded", 1)

    def code(run: UUID) -> str:
        return str(call(connection, "SELECT error_code FROM execution.runs WHERE id = %s", run))

    assert code(refused) == "provider.auth_failed"
    assert code(spared) == "key.rejected"
    assert len(provider.calls) == 2


def test_one_owners_thousand_runs_do_not_keep_another_owner_waiting(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    enqueue_lens_runs(connection, 1000, model="gpt-4o", inputs={"prompt": "many"}, requester="ada")
    enqueue_lens_runs(connection, 5, model="gpt-4o", inputs={"prompt": "few"}, requester="grace")
    with running_worker(broker, "actors.lens_runs", threads=8):
        eventually(
            lambda: sum(done.prompt == "few" for done in list(provider.calls)) == 5,
            what="the few to be asked",
        )
    before = [done.prompt for done in provider.calls]
    assert before.index("few") < 50
    assert [place for place, prompt in enumerate(before) if prompt == "few"][-1] < 100


@pytest.mark.environment(WORKER_PROVIDER_LIMITS=ONE_AT_A_TIME)
def test_nodes_that_wait_for_a_limit_are_put_down_and_end_all_the_same(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    nodes = {name: NodeSeed({"modelId": "gpt-4o"}, lens="greeting") for name in ("a", "b", "c")}
    workflow = make_workflow(connection, nodes, [])
    provider.hold()
    run = enqueue_workflow_run(
        connection, workflow.workflow_id, inputs={"name": "Ada", "language": "English"}
    )
    with running_worker(broker, "actors.workflow_runs", threads=4):
        provider.wait_for_calls(1)
        eventually(
            lambda: call(connection, "SELECT count(*) = 2 FROM worker.parked_nodes"), what="two to wait"
        )
        assert len(provider.calls) == 1
        provider.release()
        eventually(
            lambda: call(
                connection, "SELECT status = 'completed' FROM lenses.workflow_runs WHERE id = %s", run
            ),
            what="the run's end",
        )
    assert len(provider.calls) == 3
    assert call(connection, "SELECT count(*) FROM worker.passages") == 0


def others_calls_before_a_workflow_has_had_its_own(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection
) -> int:
    """How many of one owner's many lens runs call while the three nodes of another owner's workflow wait."""
    enqueue_lens_runs(connection, 400, model="gpt-4o", inputs={"prompt": "many"}, requester="ada")
    nodes = {name: NodeSeed({"modelId": "gpt-4o"}, lens="greeting") for name in ("a", "b", "c")}
    workflow = make_workflow(connection, nodes, [], owner="grace")
    with running_worker(broker, "actors.lens_runs", "actors.workflow_runs", threads=8):
        provider.wait_for_calls(20)
        enqueue_workflow_run(
            connection,
            workflow.workflow_id,
            inputs={"name": "Grace", "language": "English"},
            triggered_by=seeded_id("person", "grace"),
        )
        eventually(
            lambda: call(connection, "SELECT count(*) FROM worker.waiters WHERE NOT is_message"),
            what="a node to wait",
        )
        before = len(provider.calls)
        eventually(
            lambda: sum(done.prompt != "many" for done in list(provider.calls)) == 3,
            what="the nodes' calls",
        )
    prompts = [done.prompt for done in provider.calls]
    last = max(place for place, prompt in enumerate(prompts) if prompt != "many")
    return sum(prompt == "many" for prompt in prompts[before:last])


@pytest.mark.environment(WORKER_PROVIDER_LIMITS=TEN_A_SECOND)
def test_nodes_have_their_turn_among_many_runs_of_another_owner(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    assert others_calls_before_a_workflow_has_had_its_own(provider, broker, connection) <= 50


@pytest.mark.environment(WORKER_PROVIDER_LIMITS=TWO_AT_A_TIME)
def test_nodes_have_their_turn_where_few_may_call_at_a_time(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    provider.latency_seconds = 0.1
    assert others_calls_before_a_workflow_has_had_its_own(provider, broker, connection) <= 25


@pytest.mark.environment(WORKER_HEARTBEAT_INTERVAL_MS="100")
def test_a_call_that_a_person_breaks_off_does_not_count_against_its_provider(
    provider: ProviderServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    provider.hold()
    with running_worker(broker, "actors.lens_runs", threads=8):
        run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"})
        provider.wait_for_calls(1)
        call(connection, "SELECT worker.cancel_job(%s, 'ada', 'enough')::text", run)
        counted = "SELECT calls, failures FROM worker.call_counts"
        eventually(lambda: call(connection, counted), what="the count of the call")
        provider.release()
    assert call(connection, "SELECT sum(calls) FROM worker.call_counts") == 1
    assert call(connection, "SELECT sum(failures) FROM worker.call_counts") == 0
