"""Every kind of work that asks a provider is paid from its owner's budget."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.broker import LeaseBroker
from app.database import Database
from app.local.platform import enqueue_lens_run
from app.local.provider_server import ProviderServer
from app.local.storage_server import StorageServer
from app.local.teams import TEAM_OF_THREE, enqueue_team_run, make_team
from app.local.workflows import NodeSeed, enqueue_workflow_run, make_workflow
from tests.integration.battle_rows import dead_letters, ended_jobs, queue_battle
from tests.integration.conftest import running_worker
from tests.integration.media_world import providers_of_media, storage_for_media  # noqa: F401  # fixtures
from tests.integration.node_runs import execute_once, start
from tests.sql import Connection, call
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("seeded")

ACCEPTED = ("Emil shall do it.", "The sea is wide.", "VERDICT: ACCEPT")


def set_budget(connection: Connection, limit_usd: float) -> None:
    """One for whoever it is that works."""
    call(connection, "SELECT worker.set_budget('*', 'day', %s)::text", limit_usd)


def spent(connection: Connection) -> tuple[Any, Any]:
    """What budgets say was spent, and what the calls cost that are written down."""
    return (
        call(connection, "SELECT sum(spent_usd) FROM worker.budget_status()"),
        call(connection, "SELECT sum(cost_usd) FROM worker.provider_calls"),
    )


def ended(connection: Connection, run: UUID) -> tuple[str, str | None]:
    """A lens run's status and error, when nobody is at anything any more."""
    statement = (
        "SELECT (status, error_code) FROM execution.runs WHERE id = %s AND status IN ('succeeded', 'failed')"
        " AND NOT EXISTS (SELECT FROM worker.claims WHERE finished_at IS NULL)"
    )
    eventually(lambda: call(connection, statement, run), what="the run's end")
    with connection.cursor() as row:
        row.execute("SELECT status, error_code FROM execution.runs WHERE id = %s", (run,))
        status, code = row.fetchone() or ("", None)
    return status, code


@pytest.mark.parametrize(("limit_usd", "ends"), [(0, {"A", "B"}), (5, set())], ids=["nothing-left", "enough"])
def test_the_jobs_of_a_battle(
    limit_usd: float, ends: set[str], provider: ProviderServer, broker: LeaseBroker, connection: Connection
) -> None:
    set_budget(connection, limit_usd)
    battle = queue_battle(connection)
    with running_worker(broker, "actors.battles"):
        ended_jobs(connection, battle)
        letters = dead_letters(connection, battle)
    assert letters == dict.fromkeys(ends, "budget.exceeded")
    assert len(provider.calls) == 2 - len(ends)
    if not ends:
        budgeted, noted = spent(connection)
        assert budgeted == noted > 0


@pytest.mark.environment(ANTHROPIC_API_KEY="sk-ant-planted-0123456789")
@pytest.mark.parametrize(
    ("limit_usd", "status"), [(0, "failed"), (5, "completed")], ids=["nothing", "enough"]
)
def test_the_turns_of_a_team(
    limit_usd: float, status: str, provider: ProviderServer, broker: LeaseBroker, connection: Connection
) -> None:
    set_budget(connection, limit_usd)
    team = make_team(connection, TEAM_OF_THREE)
    provider.say("claude-sonnet-4-6", *ACCEPTED)
    run = enqueue_team_run(connection, team.lead_id, team_id=team.team_id, inputs={"task": "Praise the sea."})
    is_over = "SELECT status IN ('failed', 'completed') FROM agents.team_runs WHERE id = %s"
    with running_worker(broker, "actors.team_runs"):
        eventually(lambda: call(connection, is_over, run), what="the run's end")
    assert call(connection, "SELECT status FROM agents.team_runs WHERE id = %s", run) == status
    assert call(connection, "SELECT error_code FROM worker.claims") == (
        "budget.exceeded" if status == "failed" else None
    )
    assert len(provider.calls) == (3 if status == "completed" else 0)
    budgeted, noted = spent(connection)
    assert (budgeted or 0) == (noted or 0)


def test_a_medium_that_is_made_at_once_costs_its_price(
    provider: ProviderServer, storage: StorageServer, broker: LeaseBroker, connection: Connection
) -> None:
    set_budget(connection, 0.05)
    orders = [
        enqueue_lens_run(connection, model="imagen-4", inputs={"prompt": "a kite"}, output_modality="image")
        for _ in range(2)
    ]
    with running_worker(broker, "actors.lens_runs", threads=3):
        ends = sorted(ended(connection, order) for order in orders)
    assert ends == [("failed", "budget.exceeded"), ("succeeded", None)]
    assert spent(connection) == (Decimal("0.04"), Decimal("0.04"))
    # The refused order was never sent, so it may be sent when there is money again.
    assert call(connection, "SELECT count(*) FROM worker.media_tasks WHERE state = 'rejected'") == 1


def test_a_film_costs_as_long_as_it_can_be_where_nobody_tells_how_long_it_is(
    provider: ProviderServer, storage: StorageServer, broker: LeaseBroker, connection: Connection
) -> None:
    set_budget(connection, 20)
    film = enqueue_lens_run(
        connection, model="sora-2.0", inputs={"prompt": "a kite"}, output_modality="video"
    )
    with running_worker(broker, "actors.lens_runs", "actors.media"):
        assert ended(connection, film) == ("succeeded", None)
    budgeted, noted = spent(connection)
    assert budgeted == (noted or Decimal(60) * Decimal("0.25"))


def test_a_medium_that_a_node_has_made(
    provider: ProviderServer, storage: StorageServer, broker: LeaseBroker, connection: Connection
) -> None:
    set_budget(connection, 0)
    node = NodeSeed({"nodeType": "text_to_image", "modelId": "imagen-4"})
    workflow = make_workflow(connection, {"draw": node}, [])
    run = enqueue_workflow_run(connection, workflow.workflow_id, inputs={"text": "a kite"})
    with running_worker(broker, "actors.workflow_runs", "actors.media"):
        over = "SELECT status = 'failed' FROM lenses.workflow_runs WHERE id = %s"
        eventually(lambda: call(connection, over, run), what="the run's end")
    assert "budget.exceeded" in call(connection, "SELECT error_message FROM lenses.workflow_node_results")
    assert provider.calls == []


@pytest.mark.environment(WORKER_BUDGET_MAX_OUTPUT_TOKENS="200")
def test_a_node_that_asks_again_does_not_wait_for_what_its_own_calls_held(
    provider: ProviderServer, database: Database, connection: Connection
) -> None:
    set_budget(connection, 0.01)
    provider.say("gpt-4o", "Well, a toy.", '{"category": "toy", "confidence": 1}')
    node = NodeSeed(
        {"nodeType": "classifier", "modelId": "gpt-4o", "labels": "toy, tool", "timeoutMs": 4_000}
    )
    ran = execute_once(database, start(connection, {"it": node}, inputs={"text": "A kite."}))
    assert ran.output("it")["category"] == "toy"
    assert len(provider.calls) == 2
    budgeted, noted = spent(connection)
    assert budgeted == noted > 0
    assert call(connection, "SELECT count(*) FROM worker.provider_calls") == 2
