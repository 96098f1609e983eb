"""Budgets in SQL: what is held, settled and given back, and who has to wait."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from app.sessions import connect
from tests.integration.budget_rows import hold, set_budget, set_price, settle, use
from tests.sql import Connection, call


@pytest.fixture(autouse=True)
def prices(connection: Connection) -> None:
    set_price(connection)


def move_days(connection: Connection, table: str, day: str) -> None:
    """Have all that is kept by day be of another one."""
    connection.cursor().execute(f"UPDATE worker.{table} SET day = %s WHERE day > '-infinity'", (day,))


def test_whoever_has_no_budget_spends_what_it_likes_and_leaves_no_row(connection: Connection) -> None:
    set_budget(connection, 1, owner="grace")
    assert hold(connection, 10**9)["verdict"] == "free"
    assert call(connection, "SELECT count(*) FROM worker.budget_holds") == 0
    assert call(connection, "SELECT worker.fn_budgeted_owner('ada')") is None
    assert call(connection, "SELECT worker.fn_budgeted_owner('grace')") == "grace"


def test_what_is_held_becomes_what_it_cost(connection: Connection) -> None:
    set_budget(connection, 1)
    held = hold(connection, 60)
    assert (held["verdict"], held["usd"]) == ("held", Decimal("0.6"))
    assert use(connection) == {"day": (0, 60)}
    settle(connection, held["id"], 20)
    assert use(connection) == {"day": (20, 0)}
    settle(connection, held["id"], 50)
    assert use(connection) == {"day": (20, 0)}, "the first word counts"


def test_a_call_that_went_out_in_vain_gives_everything_back(connection: Connection) -> None:
    set_budget(connection, 1)
    settle(connection, hold(connection, 60)["id"], is_free=True)
    assert use(connection) == {"day": (0, 0)}


def test_a_call_of_which_nobody_knows_what_it_took_costs_all_that_was_held(connection: Connection) -> None:
    set_budget(connection, 1)
    settle(connection, hold(connection, 60)["id"])
    assert use(connection) == {"day": (60, 0)}


def test_a_call_that_tells_of_its_output_only_costs_that(connection: Connection) -> None:
    set_budget(connection, 1)
    settle(connection, hold(connection, 60)["id"], cents_out=20)
    assert use(connection) == {"day": (20, 0)}


def test_what_does_not_fit_waits_for_what_is_held_and_ends_where_that_is_spent(
    connection: Connection,
) -> None:
    set_budget(connection, 1)
    first = hold(connection, 60)
    waits = hold(connection, 60)
    assert waits["verdict"] == "wait"
    assert 0 < waits["wait_ms"] <= 40_000
    settle(connection, first["id"], 30)
    assert hold(connection, 60)["verdict"] == "held"
    refused = hold(connection, 90)
    assert (refused["verdict"], refused["period"]) == ("exceeded", "day")
    assert (refused["limit_usd"], refused["left_usd"]) == (1, Decimal("0.7"))
    assert refused["ends_at"] > datetime.now(UTC)


def test_nobody_waits_for_a_call_whose_ticket_has_come_again_and_its_late_word_counts(
    connection: Connection,
) -> None:
    """Else those whose workers died would wait for each other until their holds expire."""
    set_budget(connection, 1)
    ticket = uuid4()
    lost = hold(connection, 60, ticket=ticket)
    assert hold(connection, 60)["verdict"] == "wait"
    assert hold(connection, 30, ticket=ticket)["verdict"] == "held"
    assert use(connection) == {"day": (60, 30)}
    assert hold(connection, 60)["verdict"] == "exceeded"
    settle(connection, lost["id"], 1)
    assert use(connection) == {"day": (1, 30)}
    assert hold(connection, 60)["verdict"] == "held"


def test_a_worker_that_died_has_spent_all_it_held_once_its_time_is_over_or_its_ticket_comes_again(
    connection: Connection,
) -> None:
    set_budget(connection, 1)
    ticket = uuid4()
    hold(connection, 60, ticket=ticket)
    assert hold(connection, 60)["verdict"] == "wait"
    assert hold(connection, 60, ticket=ticket)["verdict"] == "exceeded"
    call(connection, "UPDATE worker.budget_holds SET expires_at = now() RETURNING true")
    assert hold(connection, 60)["verdict"] == "exceeded"
    assert use(connection) == {"day": (60, 0)}


def test_a_word_that_comes_late_still_counts(connection: Connection) -> None:
    set_budget(connection, 1)
    held = hold(connection, 60, seconds=0)
    assert use(connection) == {"day": (60, 0)}
    settle(connection, held["id"], 5)
    assert use(connection) == {"day": (5, 0)}


def test_one_hold_is_taken_once(connection: Connection) -> None:
    set_budget(connection, 1)
    held = hold(connection, 60)
    assert hold(connection, 60, hold_id=held["id"])["verdict"] == "held"
    assert use(connection) == {"day": (0, 60)}


def test_a_call_without_a_price_is_not_let_go_and_one_that_costs_nothing_is(connection: Connection) -> None:
    set_budget(connection, 0)
    assert hold(connection, 1, model=("acme", "unheard-of"))["verdict"] == "no_price"
    assert hold(connection, 1, model=("ollama", "any"))["verdict"] == "free"
    assert hold(connection, 1)["verdict"] == "exceeded"


def test_a_price_that_is_about_to_rise_is_held_already(connection: Connection) -> None:
    set_budget(connection, 1)
    set_price(connection, 20_000, datetime.now(UTC) + timedelta(seconds=30))
    assert hold(connection, 30)["usd"] == Decimal("0.6")


def test_of_all_prices_that_a_call_may_end_at_the_highest_is_held(connection: Connection) -> None:
    set_budget(connection, 2)
    now = datetime.now(UTC)
    for seconds, usd in ((20, 30_000), (40, 5_000), (3_600, 50_000)):
        set_price(connection, usd, now + timedelta(seconds=seconds))
    assert hold(connection, 30)["usd"] == Decimal("0.9")


def test_of_two_budgets_the_tighter_one_decides_and_the_one_that_lasts_is_named(
    connection: Connection,
) -> None:
    set_budget(connection, 1)
    set_budget(connection, 1.5, "month")
    settle(connection, hold(connection, 90)["id"], 90)
    assert hold(connection, 20)["period"] == "day"
    refused = hold(connection, 80)
    assert (refused["verdict"], refused["period"]) == ("exceeded", "month")
    assert use(connection) == {"day": (90, 0), "month": (90, 0)}


def test_the_next_day_has_a_budget_of_its_own_and_the_month_does_not(connection: Connection) -> None:
    for period in ("day", "month", "total"):
        set_budget(connection, 1, period)
    for cents in (30, 20):
        settle(connection, hold(connection, cents)["id"], cents)
    hold(connection, 10)
    for table in ("budget_holds", "budget_spending"):
        move_days(connection, table, "2024-02-29")
    assert use(connection, day=date(2024, 2, 29)) == {"day": (50, 10), "month": (50, 10), "total": (50, 10)}
    assert use(connection, day=date(2024, 3, 1)) == {"day": (0, 0), "month": (0, 0), "total": (50, 10)}
    move_days(connection, "budget_holds", "2024-02-01")
    assert use(connection, day=date(2024, 2, 29)) == {"day": (0, 0), "month": (50, 10), "total": (50, 10)}
    assert call(
        connection, "SELECT ends_at FROM worker.fn_budget_use('ada', '2024-02-29') WHERE period = 'month'"
    ) == datetime(2024, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_periods_are_those_of_utc_whatever_a_sessions_zone_is(connection: Connection, zone: str) -> None:
    for period in ("day", "month"):
        set_budget(connection, 1, period)
    settle(connection, hold(connection, 30)["id"], 30)
    move_days(connection, "budget_holds", "2024-03-01")
    call(connection, "SELECT set_config('TimeZone', %s, false)", zone)
    with connection.cursor() as row:
        row.execute(
            "SELECT period, spent_usd, ends_at FROM worker.fn_budget_use('ada', '2024-03-31') ORDER BY 1"
        )
        first_of_april = datetime(2024, 4, 1, tzinfo=UTC)
        assert row.fetchall() == [("day", 0, first_of_april), ("month", Decimal("0.3"), first_of_april)]


def test_what_owners_pay_with_their_own_keys_counts_where_the_budget_says_so(connection: Connection) -> None:
    set_budget(connection, 1)
    assert hold(connection, 500, own=True)["verdict"] == "free"
    set_budget(connection, 1, "month", own=True)
    settle(connection, hold(connection, 80, own=True)["id"], 80)
    settle(connection, hold(connection, 10)["id"], 10)
    assert use(connection) == {"day": (10, 0), "month": (90, 0)}
    assert hold(connection, 20)["period"] == "month"


def test_the_budget_for_all_others_is_each_ones_own(connection: Connection) -> None:
    set_budget(connection, 1, owner="*")
    set_budget(connection, 5, owner="grace")
    assert hold(connection, 90)["verdict"] == "held"
    assert hold(connection, 90, owner="bob")["verdict"] == "held"
    assert hold(connection, 90)["verdict"] == "wait"
    assert hold(connection, 300, owner="grace")["verdict"] == "held"
    assert hold(connection, 300, owner="")["verdict"] == "free"


def test_nobody_waits_for_one_who_settles_and_settling_waits_for_nobody(
    connection: Connection, dsn: str
) -> None:
    set_budget(connection, 1)
    held = hold(connection, 50)
    with closing(connect(dsn, "another worker")) as other:
        other.autocommit = False
        settle(other, held["id"], 10)
        call(connection, "SET lock_timeout = '2s'; SELECT true")
        assert hold(connection, 60)["verdict"] == "wait", "not committed yet"
        assert hold(connection, 50)["verdict"] == "held"
        other.commit()
    assert hold(connection, 40)["verdict"] == "held"


def test_sums_stay_what_they_are_when_holds_are_folded_and_old_days_forgotten(connection: Connection) -> None:
    for period in ("day", "month", "total"):
        set_budget(connection, 100, period)
    for _ in range(70):
        settle(connection, hold(connection, 2)["id"], 1)
    kept = call(connection, "SELECT count(*) FROM worker.budget_holds")
    assert kept < 40
    lost = hold(connection, 5, seconds=0)
    now = {"day": (75, 0), "month": (75, 0), "total": (75, 0)}
    assert use(connection) == now
    call(connection, "UPDATE worker.budget_holds SET settled_at = now() - interval '1 hour' RETURNING true")
    call(connection, "SELECT worker.prune_budgets()")
    assert call(connection, "SELECT count(*) FROM worker.budget_holds") == 0
    assert use(connection) == now
    settle(connection, lost["id"], 1)
    assert use(connection) == now
    move_days(connection, "budget_spending", "2024-02-29")
    call(connection, "SELECT worker.prune_budgets()")
    assert use(connection) == {"day": (0, 0), "month": (0, 0), "total": (75, 0)}
    call(connection, "SELECT worker.unset_budget('ada', NULL)")
    call(connection, "SELECT worker.prune_budgets()")
    assert call(connection, "SELECT count(*) FROM worker.budget_spending") == 0


def test_what_was_held_by_one_who_never_spoke_again_is_folded_after_a_day(connection: Connection) -> None:
    set_budget(connection, 1)
    hold(connection, 60)
    call(connection, "UPDATE worker.budget_holds SET expires_at = now() - interval '23 h' RETURNING true")
    assert call(connection, "SELECT worker.prune_budgets()") == 0
    call(connection, "UPDATE worker.budget_holds SET expires_at = now() - interval '25 h' RETURNING true")
    assert call(connection, "SELECT worker.prune_budgets()") == 1
    assert use(connection) == {"day": (60, 0)}
