"""What calls cost, by the table of prices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.errors import CheckViolation
from psycopg2.extras import Json

from tests.databases import connect_as_worker
from tests.sql import Connection, call, sqlstate_of
from tests.waiting import eventually

COST = "SELECT worker.fn_call_cost_usd(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
NOON = "2026-06-01 12:00+00"

#: Fresh, cached, written, said and reasoned tokens.
Tokens = tuple[int, int, int, int, int]
tokens = st.tuples(*(st.integers(0, 300_000_000) for _ in range(5)))


def price(connection: Connection, model: str, valid_from: str = "2026-01-01", **usd: str) -> None:
    """A price of openai's: input=…, output=… per million tokens, or image=…, second=…, request=…."""
    of_media = {"image", "second", "request"}
    names = [f"usd_per_{name}" if name in of_media else f"usd_per_million_{name}" for name in usd]
    call(
        connection,
        f"INSERT INTO worker.model_prices (provider, model, valid_from, source, {', '.join(names)})"
        f" VALUES ('openai', %s, %s, 'test' {', %s' * len(usd)}) RETURNING 1",
        model,
        valid_from,
        *usd.values(),
    )


def cost(
    connection: Connection,
    model: str,
    used: Tokens = (0, 0, 0, 0, 0),
    *,
    at: str = NOON,
    provider: str = "openai",
    units: int = 0,
    seconds: float | None = None,
) -> Decimal | None:
    fresh, cached, written, said, reasoned = used
    asked = (fresh + cached + written, cached, written, said + reasoned, reasoned)
    found = call(connection, COST, provider, model, at, *asked, units, seconds)
    assert found is None or isinstance(found, Decimal)
    return found


def test_each_sort_of_token_has_its_price(connection: Connection) -> None:
    price(connection, "m", input="3", cached_input="0.3", cache_write="3.75", output="15", reasoning="20")
    million = 10**6
    assert cost(connection, "m", (million, 0, 0, 0, 0)) == 3
    assert cost(connection, "m", (0, million, 0, 0, 0)) == Decimal("0.3")
    assert cost(connection, "m", (0, 0, million, 0, 0)) == Decimal("3.75")
    assert cost(connection, "m", (0, 0, 0, million, 0)) == 15
    assert cost(connection, "m", (0, 0, 0, 0, million)) == 20


def test_sorts_without_a_price_of_their_own_cost_what_others_do(connection: Connection) -> None:
    price(connection, "m", input="3", output="15")
    assert cost(connection, "m", (1, 10, 100, 1000, 10_000)) == Decimal("0.000333") + Decimal("0.165")


def test_a_model_without_a_price_costs_nobody_knows_what(connection: Connection) -> None:
    assert cost(connection, "nameless", (1, 0, 0, 1, 0)) is None
    assert cost(connection, "nameless", units=1) is None
    assert cost(connection, "nameless") is None


def test_a_price_for_one_thing_says_nothing_of_another(connection: Connection) -> None:
    price(connection, "hears", input="1")
    price(connection, "paints", image="0.04")
    assert cost(connection, "hears", (5, 0, 0, 1, 0)) is None
    assert cost(connection, "hears", units=1) is None
    assert cost(connection, "paints", (5, 0, 0, 1, 0)) is None


def test_what_is_priced_one_way_is_not_priced_the_other_way_too(connection: Connection) -> None:
    price(connection, "paints", image="0.04")
    price(connection, "counts", input="1", output="1")
    price(connection, "both", input="1", output="1", image="0.04")
    used = (500_000, 0, 0, 500_000, 0)
    assert cost(connection, "paints", used, units=2) == Decimal("0.08")
    assert cost(connection, "counts", used, units=2) == 1
    assert cost(connection, "both", used, units=2) == Decimal("1.08")


def test_media_are_paid_by_piece_by_second_or_by_request(connection: Connection) -> None:
    price(connection, "films", second="0.25")
    price(connection, "asks", request="0.5")
    assert cost(connection, "films", units=1, seconds=8) == 2
    assert cost(connection, "films", units=1) is None
    assert cost(connection, "asks", units=3, seconds=8) == Decimal("1.5")


def test_media_of_unknown_length_have_no_cost_where_seconds_have_a_price(connection: Connection) -> None:
    price(connection, "speaks", input="1", output="1", second="0.25")
    used = (500_000, 0, 0, 500_000, 0)
    assert cost(connection, "speaks", used, units=1, seconds=8) == 3
    assert cost(connection, "speaks", used, units=1) is None


def test_a_call_that_took_nothing_cost_nothing(connection: Connection) -> None:
    price(connection, "films", second="0.25")
    assert cost(connection, "films") == 0


def test_the_price_of_the_time_counts(connection: Connection) -> None:
    price(connection, "m", "2026-05-01 00:00+00", input="2")
    price(connection, "m", "2026-06-01 00:00+00", input="1")
    used = (10**6, 0, 0, 0, 0)
    times = ["2026-04-30 23:59:59.999999+00", "2026-05-31 23:59:59.999999+00", "2026-06-01 00:00+00"]
    assert [cost(connection, "m", used, at=at) for at in times] == [None, 2, 1]


def test_a_provider_may_have_a_price_for_all_its_other_models(connection: Connection) -> None:
    assert cost(connection, "llama3.2:3b-instruct", (9, 0, 0, 9, 0), provider="ollama") == 0
    price(connection, "*", input="1", output="1")
    price(connection, "m", input="2", output="2")
    used = (10**6, 0, 0, 0, 0)
    assert (cost(connection, "m", used), cost(connection, "any", used)) == (2, 1)


def test_a_provider_goes_by_all_its_names(connection: Connection) -> None:
    used = (10**6, 0, 0, 0, 0)
    assert cost(connection, "gemini-2.5-pro", used, provider="Gemini") == Decimal("3.5")


def test_counts_that_contradict_each_other_make_no_negative_cost(connection: Connection) -> None:
    price(connection, "m", input="3", cached_input="0.3", cache_write="3.75", output="15", reasoning="20")
    assert call(connection, COST, "openai", "m", NOON, 10, 99, 99, 10, 99, 0, None) == Decimal("0.000203")


@pytest.mark.parametrize("time", ["infinity", "-infinity"])
def test_a_price_holds_from_a_time_that_comes(connection: Connection, time: str) -> None:
    with pytest.raises(CheckViolation):
        price(connection, "m", time, input="1")


def test_two_who_import_the_same_prices_at_once_both_do(connection: Connection, dsn: str) -> None:
    told = {"provider": "acme", "model": "m", "valid_from": NOON, "usd_per_image": 1, "source": "test"}
    import_it = "SELECT worker.import_prices(%s)"
    with closing(connect_as_worker(dsn)) as other, ThreadPoolExecutor() as pool:
        other.autocommit = False
        assert call(other, import_it, Json([told])) == 1
        second = pool.submit(call, connection, import_it, Json([{**told, "usd_per_image": 2}]))
        waits = "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted"
        eventually(lambda: call(other, waits), what="the second import waits")
        other.commit()
        assert second.result() == 1
        prices = "SELECT array_agg(usd_per_image::int) FROM worker.model_prices WHERE provider = 'acme'"
        assert call(other, prices) == [2]


@pytest.mark.parametrize("usd", ["-0.01", "NaN", "Infinity"])
def test_prices_are_numbers_from_zero_up(connection: Connection, usd: str) -> None:
    statement = (
        "INSERT INTO worker.model_prices (provider, model, valid_from, source, usd_per_image)"
        " VALUES ('openai', 'm', now(), 'test', %s)"
    )
    assert sqlstate_of(connection, statement, usd) == "23514"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(one=tokens, other=tokens)
def test_cost_adds_up_and_is_never_negative(connection: Connection, one: Tokens, other: Tokens) -> None:
    if not call(connection, "SELECT EXISTS (SELECT FROM worker.model_prices WHERE model = 'm')"):
        price(
            connection, "m", input="2.7", cached_input="0.27", cache_write="3.1", output="13", reasoning="17"
        )
    both = tuple(a + b for a, b in zip(one, other, strict=True))
    costs = [cost(connection, "m", used) for used in (one, other, both)]  # type: ignore[arg-type]
    assert None not in costs
    assert min(costs) >= 0  # type: ignore[type-var]  # none is None
    assert sum(costs[:2]) == costs[2]  # type: ignore[arg-type]  # none is None
