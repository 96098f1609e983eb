"""Runs of owners with budgets: in a real worker, with a provider on a real wire that keeps the bill."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from psycopg2.extras import RealDictCursor

from app.broker import LeaseBroker
from app.local.platform import Seeded, enqueue_lens_run, enqueue_lens_runs, ensure_model
from app.local.provider_server import Call, ProviderServer
from app.local.seeds import seeded_id
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from tests.integration.conftest import running_worker
from tests.sql import Connection, call
from tests.waiting import eventually

ADA, GRACE = (str(seeded_id("person", name)) for name in ("ada", "grace"))

#: Those of gpt-4o, for a million tokens.
USD_IN, USD_OUT = Decimal(5), Decimal(15)
MOST_OUT = 200
PROMPT = "word " * 40
#: What is held for one such call: 256 tokens around the prompt, 64 around its two messages, one a byte.
HOLD_USD = ((256 + 64 + len(PROMPT)) * USD_IN + MOST_OUT * USD_OUT) / 1_000_000
#: How calls end whose cost nobody ever tells; the provider bills them all the same.
BROKEN = ("reset", "cut-body", "html")


IS_QUIET = "SELECT NOT EXISTS (SELECT FROM worker.claims WHERE finished_at IS NULL)"


class MeteringServer(ProviderServer):
    """Providers that bill what they take and make as gpt-4o, also where their answer gets lost."""

    def __init__(self) -> None:
        super().__init__(latency_seconds=0.02)
        self.billed_usd = Decimal(0)
        self._random = random.Random(7)
        self._till = threading.Lock()

    def begin(self, call: Call, scenario: str | None) -> str | None:
        scenario = super().begin(call, scenario)
        if scenario is None or scenario in BROKEN:
            made = int(call.body["max_completion_tokens"]) if scenario else 0
            self._bill(len(call.prompt.split()), made)
        return scenario

    def next_line(self, model: str) -> str | None:
        with self._till:
            words = self._random.choice((1, self._random.randint(1, MOST_OUT), MOST_OUT))
        self._bill(0, words)
        return "so " * words

    def _bill(self, tokens_in: int, tokens_out: int) -> None:
        with self._till:
            self.billed_usd += (tokens_in * USD_IN + tokens_out * USD_OUT) / 1_000_000


@pytest.fixture
def provider(configure: Callable[..., None]) -> Iterator[MeteringServer]:
    with MeteringServer() as server:
        configure(
            **server.environment(),
            OPENAI_API_KEY="sk-platform-planted-0123456789",
            WORKER_RETRY_MIN_BACKOFF_MS="1",
            WORKER_BUDGET_MAX_OUTPUT_TOKENS=str(MOST_OUT),
            WORKER_DATABASE_POOL_MAX_CONNECTIONS="8",
            WORKER_BREAKER_MIN_CALLS="1000",
        )
        yield server


def set_budget(
    connection: Connection, limit_usd: Decimal | float, period: str = "day", owner: str = ADA
) -> None:
    call(connection, "SELECT worker.set_budget(%s, %s, %s)::text", owner, period, limit_usd)


def wait_for_the_end(connection: Connection, runs: int) -> dict[str, int]:
    """How many runs ended in what, when all have."""
    ended = "SELECT count(*) = %s FROM execution.runs WHERE status IN ('succeeded', 'failed')"
    eventually(lambda: call(connection, ended, runs), what=f"the end of {runs} runs")
    with connection.cursor() as row:
        row.execute("SELECT coalesce(error_code, status), count(*) FROM execution.runs GROUP BY 1")
        return dict(row.fetchall())


def spent_usd(connection: Connection, owner: str = ADA, period: str = "day") -> Any:
    return call(
        connection,
        "SELECT spent_usd FROM worker.budget_status() WHERE owner = %s AND period = %s",
        owner,
        period,
    )


@pytest.mark.timeout(120)
def test_a_hundred_runs_at_once_spend_all_of_a_budget_and_no_more(
    provider: MeteringServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    set_budget(connection, 0.1)
    set_budget(connection, 0.5, "month")
    enqueue_lens_runs(connection, 100, model="gpt-4o", inputs={"prompt": PROMPT})
    with running_worker(broker, "actors.lens_runs", threads=102):
        ends = wait_for_the_end(connection, 100)
    assert set(ends) == {"succeeded", "budget.exceeded"}
    assert Decimal("0.1") - HOLD_USD < provider.billed_usd <= Decimal("0.1")
    assert spent_usd(connection) == spent_usd(connection, period="month") == provider.billed_usd
    assert {sent.body["max_completion_tokens"] for sent in provider.calls} == {MOST_OUT}
    assert call(connection, "SELECT count(*) FROM worker.budget_holds WHERE settled_at IS NULL") == 0


@pytest.mark.timeout(120)
def test_calls_whose_answers_get_lost_are_counted_and_those_that_are_refused_are_not(
    provider: MeteringServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    set_budget(connection, 0.1)
    script = [random.Random(seed).choice(("ok", "500", "503", *BROKEN)) for seed in range(200)]
    provider.script("gpt-4o", script)
    enqueue_lens_runs(connection, 60, model="gpt-4o", inputs={"prompt": PROMPT})
    with running_worker(broker, "actors.lens_runs", threads=34):
        ends = wait_for_the_end(connection, 60)
    assert ends["budget.exceeded"] > 0
    assert provider.billed_usd <= Decimal("0.1")
    # A call whose answer was lost counts with all that was held for it.
    assert provider.billed_usd <= spent_usd(connection) <= Decimal("0.1")


def test_a_run_that_does_not_fit_says_which_budget_it_is_and_what_is_left(
    provider: MeteringServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    set_budget(connection, 0.004, "month")
    run = enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": PROMPT})
    with running_worker(broker, "actors.lens_runs"):
        assert wait_for_the_end(connection, 1) == {"budget.exceeded": 1}
    message = call(connection, "SELECT error_message FROM execution.runs WHERE id = %s", run)
    ends_at = call(connection, "SELECT to_char(resets_at, 'YYYY-MM-DD') FROM worker.budget_status()")
    assert message == (
        f"the call may cost up to {HOLD_USD:f} USD: of the owner's monthly budget of 0.004 USD,"
        f" 0.004 USD are left, and the next one begins at {ends_at} 00:00 UTC"
    )
    assert provider.calls == []
    assert call(connection, "SELECT attempt FROM worker.claims") == 1


def test_a_model_without_a_price_is_refused_to_owners_with_a_budget_only(
    provider: MeteringServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    set_budget(connection, 10)
    ensure_model(connection, "priceless", "openai")
    enqueue_lens_run(connection, model="priceless", inputs={"prompt": "hi"})
    enqueue_lens_run(connection, model="priceless", inputs={"prompt": "hi"}, requester="grace")
    with running_worker(broker, "actors.lens_runs"):
        assert wait_for_the_end(connection, 2) == {"budget.no_price": 1, "succeeded": 1}
    assert "max_completion_tokens" not in provider.calls[0].body


@pytest.mark.environment(WORKER_BUDGET_ALLOW_UNPRICED="true")
def test_a_model_without_a_price_may_be_allowed(
    provider: MeteringServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    set_budget(connection, 10)
    ensure_model(connection, "priceless", "openai")
    enqueue_lens_run(connection, model="priceless", inputs={"prompt": "hi"})
    with running_worker(broker, "actors.lens_runs"):
        assert wait_for_the_end(connection, 1) == {"succeeded": 1}
    assert spent_usd(connection) == 0


def test_one_owners_budget_is_nothing_to_others_and_their_own_keys_are_not_counted(
    provider: MeteringServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    set_budget(connection, 0)
    enqueue_lens_runs(connection, 3, model="gpt-4o", inputs={"prompt": PROMPT}, requester="grace")
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": PROMPT})
    byok = {"funding_source": "user_byok_cloud", "byok_key_id": seeded.keys["active"]}
    enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": PROMPT}, **byok)
    with running_worker(broker, "actors.lens_runs"):
        assert wait_for_the_end(connection, 5) == {"succeeded": 4, "budget.exceeded": 1}
    assert spent_usd(connection) == 0
    assert call(connection, "SELECT count(*) FROM worker.budget_holds") == 0


def test_others_budgets_cost_an_owner_without_one_no_statement(
    provider: MeteringServer,
    broker: LeaseBroker,
    connection: Connection,
    seeded: Seeded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    class NotingCursor(RealDictCursor):
        def execute(self, statement: str, parameters: Any = None) -> None:
            # A process asks other things from other threads, now and then.
            if type(threading.current_thread()).__name__ == "_WorkerThread":
                asked.append(statement.split("(", maxsplit=1)[0])
            super().execute(statement, parameters)

    monkeypatch.setattr("app.database.RealDictCursor", NotingCursor)

    def statements_of_a_run(runs: int) -> list[str]:
        asked.clear()
        enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": PROMPT})
        wait_for_the_end(connection, runs)
        eventually(lambda: call(connection, IS_QUIET), what="the end of the claim")
        return list(asked)

    with running_worker(broker, "actors.lens_runs"):
        before = statements_of_a_run(1)
        set_budget(connection, 1, owner=GRACE)
        assert statements_of_a_run(2) == before
        set_budget(connection, 1)
        assert sorted(statements_of_a_run(3)) == sorted([*before, "SELECT * FROM worker.hold_budget"])
    assert 2 < len(before) < 10


def test_the_nodes_of_a_workflow_are_paid_from_its_owners_budget(
    provider: MeteringServer, broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    set_budget(connection, HOLD_USD)
    node = NodeSeed({"modelId": "gpt-4o"}, lens="greeting")
    workflow = make_workflow(connection, {"a": node, "b": node, "c": node}, [])
    inputs = {"name": "Ada", "language": "English"}
    run = enqueue_workflow_run(connection, workflow.workflow_id, inputs=inputs)
    with running_worker(broker, "actors.workflow_runs"):
        ended = "SELECT status IN ('failed', 'completed') FROM lenses.workflow_runs WHERE id = %s"
        eventually(lambda: call(connection, ended, run), what="the run's end")
    assert provider.calls
    assert provider.billed_usd == spent_usd(connection) <= HOLD_USD
    refused = (
        "SELECT count(*) FROM lenses.workflow_node_results WHERE error_message LIKE '%%budget.exceeded%%'"
    )
    assert call(connection, refused) + len(provider.calls) == 3
