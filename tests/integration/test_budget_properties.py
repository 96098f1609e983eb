"""Budgets under whatever is done with them: beside a model of them, and by many at once."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sessions import connect
from tests.integration.budget_rows import hold, set_budget, set_price, settle, use
from tests.sql import Connection, call

LIMITS = st.dictionaries(st.sampled_from(["day", "month", "total"]), st.integers(0, 300), min_size=1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.integers(1, 120), st.integers(0, 3)),
        st.tuples(st.just("settle"), st.integers(0, 9), st.integers(0, 100)),
        st.tuples(st.just("free"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("expire"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("fold"), st.just(0), st.just(0)),
        st.tuples(st.just("days pass"), st.sampled_from([1, 2, 25, 40]), st.just(0)),
    ),
    max_size=30,
)


@pytest.fixture
def prices(connection: Connection) -> None:
    set_price(connection)


@dataclass
class Held:
    """A call that was let go; `cents` are what it cost, once it has told."""

    id: UUID
    ticket: UUID
    cents: int
    day: date
    is_open: bool = True
    is_expired: bool = False


@dataclass
class Books:
    """What budgets are meant to do, in a few lines."""

    limits: dict[str, int]
    held: list[Held] = field(default_factory=list)

    def use(self, period: str) -> tuple[int, int]:
        today = datetime.now(UTC).date()
        first = {"day": today, "month": today.replace(day=1), "total": date.min}[period]
        counted = [one for one in self.held if one.day >= first]
        held = sum(o.cents for o in counted if o.is_open and not o.is_expired)
        return sum(one.cents for one in counted) - held, held

    def ask(self, cents: int, ticket: UUID) -> str:
        for one in self.held:
            one.is_expired |= one.ticket == ticket
        uses = [(limit, *self.use(period)) for period, limit in self.limits.items()]
        if any(spent + cents > limit for limit, spent, _ in uses):
            return "exceeded"
        return "wait" if any(spent + held + cents > limit for limit, spent, held in uses) else "held"

    def open_one(self, number: int) -> Held | None:
        still_open = [one for one in self.held if one.is_open]
        return still_open[number % len(still_open)] if still_open else None


def take(connection: Connection, books: Books, owner: str, cents: int, ticket: UUID) -> None:
    answer = hold(connection, cents, owner=owner, ticket=ticket)
    assert answer["verdict"] == books.ask(cents, ticket)
    if answer["verdict"] == "held":
        books.held.append(Held(answer["id"], ticket, cents, datetime.now(UTC).date()))


def end_one(connection: Connection, books: Books, step: str, number: int, cents: int) -> None:
    one = books.open_one(number)
    if one is None:
        return
    if step == "expire":
        one.is_expired = True
        call(
            connection, "UPDATE worker.budget_holds SET expires_at = now() WHERE id = %s RETURNING 1", one.id
        )
        return
    # What was held is the most that a call can cost; 0 is not to know.
    cost = min(cents, one.cents) if step == "settle" else 0
    settle(connection, one.id, cost, is_free=step == "free")
    one.is_open, one.cents = False, cost if cost or step == "free" else one.cents


def let_days_pass(connection: Connection, books: Books, owner: str, days: int) -> None:
    for one in books.held:
        one.day -= timedelta(days=days)
    far = 10_000  # so that no day is moved to where another one still is
    for table, step in itertools.product(("budget_holds", "budget_spending"), (-far, far - days)):
        connection.cursor().execute(
            f"UPDATE worker.{table} SET day = day + %s WHERE owner = %s AND day > '-infinity'", (step, owner)
        )


@pytest.mark.timeout(120)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=LIMITS, steps=STEPS)
def test_whatever_is_done_budgets_are_what_their_model_says(
    prices: None, connection: Connection, limits: dict[str, int], steps: list[tuple[str, int, int]]
) -> None:
    owner, books = str(uuid4()), Books(limits)
    for period, limit in limits.items():
        set_budget(connection, limit / 100, period, owner)
    for step, number, more in steps:
        if step == "hold":
            take(connection, books, owner, number, UUID(int=more))
        elif step == "fold":
            call(connection, "SELECT worker.fn_fold_holds(%s, 1)", owner)
        elif step == "days pass":
            let_days_pass(connection, books, owner, number)
        else:
            end_one(connection, books, step, number, more)
        assert use(connection, owner) == {period: books.use(period) for period in limits}


@pytest.mark.timeout(60)
def test_many_at_once_never_hold_more_than_there_is_and_never_lock_each_other_out(
    prices: None, connection: Connection, dsn: str
) -> None:
    """Each of these calls costs some of what is held for it, now and then all; some callers die."""
    set_budget(connection, 20)
    set_budget(connection, 30, "month")
    billed, guard, ends = [0], threading.Lock(), Counter[str]()

    def call_until_all_is_spent(seed: int) -> None:
        dice = random.Random(seed)
        with closing(connect(dsn, "a worker")) as session:
            while (held := hold(session, 25, ticket=UUID(int=seed), seconds=0.5))["verdict"] != "exceeded":
                if held["verdict"] == "wait":
                    time.sleep(0.002)
                    continue
                cost = dice.choice((1, 5, 10, 25))
                with guard:
                    billed[0] += cost
                if dice.random() < 0.1:
                    continue  # it dies, and comes again under its ticket
                settle(session, held["id"], cost)
                if dice.random() < 0.1:
                    call(session, "SELECT worker.prune_budgets()")
        ends["exceeded"] += 1

    threads = [threading.Thread(target=call_until_all_is_spent, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert ends["exceeded"] == len(threads)
    spent, held = use(connection)["day"]
    assert 2_000 - 25 < spent + held <= 2_000
    assert billed[0] <= 2_000
