"""What is written down of cost is what a meter at the providers comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extras import Json

from app.broker import LeaseBroker
from app.database import Database
from app.local.media_wire import TOKENS_OF_AN_IMAGE
from app.local.platform import Seeded, enqueue_lens_run, ensure_model
from app.local.provider_server import ProviderServer
from app.local.provider_usage import Used
from app.local.workflows import NodeSeed
from tests.integration.battle_rows import ended_jobs, queue_battle
from tests.integration.conftest import running_worker
from tests.integration.media_world import providers_of_media  # noqa: F401  # fixture
from tests.integration.node_runs import execute_once, start
from tests.integration.workflow_rows import rows, run_row
from tests.sql import call
from tests.waiting import eventually

#: Dollars per million tokens, each sort apart.
PRICES = {"fresh": "3.1", "cached": "0.31", "written": "3.9", "said": "15.7", "thought": "21.3"}
COLUMNS = {
    "fresh": "usd_per_million_input",
    "cached": "usd_per_million_cached_input",
    "written": "usd_per_million_cache_write",
    "said": "usd_per_million_output",
    "thought": "usd_per_million_reasoning",
}

#: What an answer of each provider takes, of all sorts that the provider tells apart.
METERED = {
    "openai": Used(fresh=101, cached=2_003, written=57, thought=307, said=31),
    "mistral": Used(fresh=103, cached=2_011, written=59, thought=311, said=37),
    "deepseek": Used(fresh=107, cached=2_017, thought=313, said=41),
    "anthropic": Used(fresh=109, cached=2_027, written=61, thought=317, said=43),
    "google": Used(fresh=113, cached=2_029, thought=331, said=47),
    "google_vertex": Used(fresh=127, cached=2_039, thought=337, said=53),
    "ollama": Used(fresh=131, said=59),
}

#: What one medium of each costs at list prices.
MEDIA = {
    "dall-e-4": "0.08",
    "imagen-4": "0.04",
    "sora-2.0": "1.25",
    "veo-3": "1.6",
    "lyria-2": "0.9",
    "kling-2.0": "0.9",
    "suno-v5": "0.75",
    "fal-ai/flux": None,
}


@pytest.fixture
def worker(provider: ProviderServer, broker: LeaseBroker, seeded: Seeded) -> Iterator[None]:
    with running_worker(broker, "actors.lens_runs", "actors.media", "actors.battles"):
        yield


@pytest.fixture
def keys(configure: Callable[..., None]) -> None:
    owners = ("ANTHROPIC", "MISTRAL", "DEEPSEEK", "GOOGLE_VERTEX")
    configure(**{f"{owner}_API_KEY": f"sk-planted-{owner.lower()}-0123456789" for owner in owners})


def set_price(connection: Connection, provider: str, model: str, **more: Any) -> None:
    price = {
        "provider": provider,
        "model": model,
        "valid_from": "2025-02-01T00:00:00Z",
        "source": "test",
        **{COLUMNS[sort]: usd for sort, usd in PRICES.items()},
        **more,
    }
    rows(
        connection,
        f"INSERT INTO worker.model_prices ({', '.join(price)}) VALUES ({', '.join(['%s'] * len(price))})",
        *price.values(),
    )


def metered(used: Used) -> Decimal:
    return sum((Decimal(usd) * getattr(used, sort) for sort, usd in PRICES.items()), Decimal(0)) / 1_000_000


def ended(connection: Connection, run: UUID) -> dict[str, Any]:
    statement = (
        "SELECT * FROM execution.runs r WHERE id = %s AND status NOT IN ('queued', 'running')"
        " AND NOT EXISTS (SELECT FROM worker.claims WHERE finished_at IS NULL)"
    )
    return eventually(lambda: rows(connection, statement, run), what="the run's end")[0]


def recorded(connection: Connection, job: UUID) -> list[dict[str, Any]]:
    statement = "SELECT * FROM worker.provider_calls WHERE job = %s AND purpose <> 'poll' ORDER BY ended_at"
    return rows(connection, statement, job)


def counts_of(used: Used) -> dict[str, int]:
    return {
        "tokens_in": used.prompt,
        "tokens_cached": used.cached,
        "tokens_cache_write": used.written,
        "tokens_out": used.made,
        "tokens_reasoning": used.thought,
    }


@pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
def test_recorded_cost_equals_metered_cost_to_the_token_at_every_provider(
    keys: None, worker: None, provider: ProviderServer, connection: Connection
) -> None:
    runs: dict[str, UUID] = {}
    for name, used in METERED.items():
        model = f"metered-{name}"
        ensure_model(connection, model, name)
        set_price(connection, name, model)
        provider.meter(model, used)
        runs[name] = enqueue_lens_run(connection, model=model, inputs={"prompt": "hi"})
    for name, used in METERED.items():
        run = ended(connection, runs[name])
        assert (name, run["status"], run["error_code"]) == (name, "succeeded", None)
        (told,) = recorded(connection, run["id"])
        assert {column: told[column] for column in counts_of(used)} == counts_of(used), name
        assert (name, told["cost_usd"], run["cost_estimate"]) == (name, metered(used), metered(used))
        assert (run["token_input"], run["token_output"]) == (used.prompt, used.made)
        assert Decimal(str(run["response_meta"]["cost_usd"])) == metered(used)
        assert (run["credit_cost"], run["billing_status"]) == (0, "free")


def test_media_cost_what_their_length_or_number_does(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    ensure_model(connection, "fal-ai/flux", "fal", "image")
    runs = {
        model: enqueue_lens_run(connection, model=model, inputs={"prompt": "a red kite"}) for model in MEDIA
    }
    for model, usd in MEDIA.items():
        run = ended(connection, runs[model])
        assert (model, run["status"], run["error_code"]) == (model, "succeeded", None)
        expected = Decimal(usd) if usd else None
        assert (model, [told["cost_usd"] for told in recorded(connection, run["id"])]) == (model, [expected])
        assert (model, run["cost_estimate"]) == (model, expected)
        assert ("cost_usd" in run["response_meta"]) == (usd is not None)


def test_an_image_that_is_priced_by_tokens_costs_what_they_do(worker: None, connection: Connection) -> None:
    set_price(connection, "openai", "gpt-image-1")
    run = ended(
        connection, enqueue_lens_run(connection, model="gpt-image-1", inputs={"prompt": "a red kite"})
    )
    assert run["cost_estimate"] == metered(Used(fresh=3, said=TOKENS_OF_AN_IMAGE))


def test_an_order_whose_answer_got_lost_has_its_cost_once_it_is_found(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    provider.script("kling-v2-master", ["cut-body"])
    run = ended(connection, enqueue_lens_run(connection, model="kling-2.0", inputs={"prompt": "a kite"}))
    assert [told["cost_usd"] for told in recorded(connection, run["id"])] == [None, Decimal("0.9")]
    assert (run["status"], run["cost_estimate"]) == ("succeeded", Decimal("0.9"))


def test_a_run_that_failed_has_cost_what_was_taken_for_it(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    used = Used(fresh=1_000, said=10)
    ensure_model(connection, "sc-refusal", "openai")
    set_price(connection, "openai", "sc-refusal")
    provider.meter("sc-refusal", used)
    run = ended(connection, enqueue_lens_run(connection, model="sc-refusal", inputs={"prompt": "hi"}))
    assert (run["status"], run["error_code"]) == ("failed", "provider.content_refused")
    assert run["cost_estimate"] == metered(used)


def test_all_that_a_run_took_counts_and_what_nobody_sold_does_not(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    ensure_model(connection, "flaky", "openai")
    set_price(connection, "openai", "flaky")
    provider.script("flaky", ["503", "ok"])
    provider.meter("flaky", Used(), Used(fresh=500, said=5))
    run = ended(connection, enqueue_lens_run(connection, model="flaky", inputs={"prompt": "hi"}))
    assert [told["cost_usd"] for told in recorded(connection, run["id"])] == [None, run["cost_estimate"]]
    assert run["cost_estimate"] == metered(Used(fresh=500, said=5))


def test_an_answer_that_says_nothing_of_tokens_has_no_cost_that_anybody_knows(
    worker: None, connection: Connection
) -> None:
    ensure_model(connection, "sc-no-usage", "openai")
    set_price(connection, "openai", "sc-no-usage")
    run = ended(connection, enqueue_lens_run(connection, model="sc-no-usage", inputs={"prompt": "hi"}))
    assert (run["status"], run["cost_estimate"]) == ("succeeded", None)
    assert "cost_usd" not in run["response_meta"]


def test_contenders_of_battles_cost_too(
    worker: None, provider: ProviderServer, connection: Connection
) -> None:
    used = Used(fresh=1_000, cached=200, said=10)
    provider.meter("gpt-4o", used)
    first, _ = ended_jobs(connection, queue_battle(connection))
    (told,) = recorded(connection, first["id"])
    assert told["cost_usd"] == (used.prompt * Decimal(5) + used.said * Decimal(15)) / 1_000_000


@pytest.mark.parametrize(
    ("request_of", "credits_", "status"),
    [
        ({}, 6, "pending"),
        ({"funding_source": "sponsored"}, 0, "free"),
        ({"funding_source": "user_byok_cloud", "byok_key_id": "active"}, 0, "free"),
    ],
    ids=["platform", "sponsored", "own-key"],
)
def test_the_platform_takes_credits_for_what_it_pays(
    configure: Callable[..., None],
    worker: None,
    provider: ProviderServer,
    seeded: Seeded,
    connection: Connection,
    request_of: Mapping[str, Any],
    credits_: int,
    status: str,
) -> None:
    configure(WORKER_CREDITS_PER_USD="1000")
    terms = dict(request_of)
    if "byok_key_id" in terms:
        terms["byok_key_id"] = seeded.keys[terms["byok_key_id"]]
    provider.meter("gpt-4o", Used(fresh=1_001))
    run = ended(connection, enqueue_lens_run(connection, model="gpt-4o", inputs={"prompt": "hi"}, **terms))
    assert (run["cost_estimate"], run["credit_cost"], run["billing_status"]) == (
        Decimal("0.005005"),
        credits_,
        status,
    )


def test_a_medium_without_a_price_in_credits_is_taken_for_at_the_rate(
    configure: Callable[..., None], worker: None, connection: Connection
) -> None:
    configure(WORKER_CREDITS_PER_USD="10")
    run = ended(connection, enqueue_lens_run(connection, model="sora-2.0", inputs={"prompt": "a kite"}))
    assert (run["cost_estimate"], run["credit_cost"], run["billing_status"]) == (
        Decimal("1.25"),
        13,
        "pending",
    )


def test_a_workflows_nodes_take_credits_of_its_run(
    configure: Callable[..., None], database: Database, provider: ProviderServer, connection: Connection
) -> None:
    configure(WORKER_CREDITS_PER_USD="1000")
    provider.meter("gpt-4o", Used(fresh=1_001))
    asking = NodeSeed({"nodeType": "summarizer", "modelId": "gpt-4o"})
    ran = execute_once(database, start(connection, {"it": asking}, inputs={"text": "A kite."}))
    assert (ran.node("it")["status"], ran.node("it")["cost_credits"]) == ("completed", 6)
    assert run_row(connection, ran.run_id)["spent_credits"] == 6
    assert call(connection, "SELECT worker.fn_job_cost_usd(%s)", ran.run_id) == Decimal("0.005005")


def test_a_call_costs_what_it_did_when_it_ended_however_late_it_is_written_down(
    connection: Connection,
) -> None:
    set_price(connection, "openai", "m")
    set_price(connection, "openai", "m", valid_from="now", usd_per_million_input=0)
    message = uuid4()
    rows(
        connection,
        "INSERT INTO worker.claims (message_id, kind, job, worker_id) VALUES (%s, 'lens_run', %s, 'box:1')",
        message,
        uuid4(),
    )
    made = {"provider": "openai", "model": "m", "purpose": "answer", "duration_ms": 1, "units": 0}
    tokens = {**counts_of(Used(fresh=1_000)), "seconds": None}
    told = [{**made, **tokens, "age_ms": age_ms} for age_ms in (0, 3_600_000)]
    rows(connection, "SELECT worker.note_calls(%s, %s)", message, Json(told))
    costs = rows(connection, "SELECT cost_usd FROM worker.provider_calls ORDER BY ended_at DESC")
    assert [row["cost_usd"] for row in costs] == [0, Decimal("0.0031")]
