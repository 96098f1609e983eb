"""A purse asks the database for each call, waits where that helps, and says why a call can't be paid for."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.budgets import OwnersPurse, purse_of, purses
from app.calls import PLATFORM_KEY, measured
from app.claims import Claim
from app.errors import DatabaseAway, GiveUp, PutBack
from app.purse import Ceiling, open_purse
from app.settings import settings
from tests.unit.recorded import RecordedDatabase, stop_clock

TICKET = uuid4()
CEILING = Ceiling(100, 200, 1, 2.5)


@pytest.fixture(autouse=True)
def configured(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://x/y")


def answer(verdict: str, **more: Any) -> list[dict[str, Any]]:
    return [{"verdict": verdict, **more}]


def exceeded(**more: Any) -> list[dict[str, Any]]:
    told = {
        "usd": Decimal("0.0751"),
        "period": "day",
        "limit_usd": Decimal(5),
        "left_usd": Decimal("0.03"),
        "ends_at": datetime(2026, 11, 24, tzinfo=UTC),
    }
    return answer("exceeded", **{**told, **more})


def purse(database: RecordedDatabase, **more: Any) -> OwnersPurse:
    return OwnersPurse(database, "ada", TICKET, 30.0, **more)


def hold(*answers: Any, key: str = PLATFORM_KEY, **more: Any) -> tuple[UUID | None, list[Any]]:
    database = RecordedDatabase(*answers)
    held = purse(database, **more).hold("openai", "gpt-4o", key, CEILING)
    return held, [terms for _, terms in database.asked]


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return stop_clock(monkeypatch, purses)


def test_what_a_call_can_take_is_held_for_its_owner() -> None:
    held, asked = hold(answer("held"))
    assert asked == [(held, "ada", TICKET, False, "openai", "gpt-4o", 100, 200, 1, 2.5, 90.0)]
    assert isinstance(held, UUID)


def test_a_key_of_the_owners_own_is_told_apart() -> None:
    _, asked = hold(answer("free"), key=str(uuid4()))
    assert asked[0][3] is True


def test_nothing_is_held_for_what_costs_nothing_that_counts() -> None:
    assert hold(answer("free"))[0] is None


def test_a_session_that_was_lost_is_asked_again_for_the_same_hold() -> None:
    held, asked = hold(DatabaseAway("gone"), answer("held"))
    assert [terms[0] for terms in asked] == [held, held]


def test_a_call_that_may_fit_later_is_put_back_or_waited_for(naps: list[float]) -> None:
    with pytest.raises(PutBack) as wait:
        hold(answer("wait", wait_ms=1_500))
    assert (wait.value.code, wait.value.after_seconds) == ("budget.waiting", 1.5)
    assert naps == []
    held, asked = hold(answer("wait", wait_ms=1_500), answer("held"), patience_seconds=2.0)
    assert naps == [1.5]
    assert [terms[0] for terms in asked] == [held, held]
    with pytest.raises(PutBack):
        hold(answer("wait", wait_ms=1_500), answer("wait", wait_ms=600), patience_seconds=2.0)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            exceeded(),
            "the call may cost up to 0.0751 USD: of the owner's daily budget of 5.00 USD, 0.03 USD are left,"
            " and the next one begins at 2026-11-24 00:00 UTC",
        ),
        (
            exceeded(period="total", ends_at=None, usd=Decimal("12.5")),
            "the call may cost up to 12.50 USD: of the owner's budget of 5.00 USD, 0.03 USD are left",
        ),
    ],
    ids=["day", "total"],
)
def test_a_budget_that_is_exceeded_is_named_with_what_is_left_and_when_it_ends(
    told: Any, message: str
) -> None:
    with pytest.raises(GiveUp) as refused:
        hold(told)
    assert (refused.value.code, refused.value.message) == ("budget.exceeded", message)


def test_a_model_without_a_price_is_refused_unless_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GiveUp) as refused:
        hold(answer("no_price"))
    assert refused.value.code == "budget.no_price"
    assert "openai/gpt-4o" in refused.value.message
    monkeypatch.setenv("WORKER_BUDGET_ALLOW_UNPRICED", "true")
    settings.cache_clear()
    assert hold(answer("no_price"))[0] is None


@pytest.mark.parametrize("owner", [None, "ada"])
def test_a_claim_pays_from_its_owners_purse_if_there_are_budgets(owner: str | None) -> None:
    claim = Claim[Any](RecordedDatabase(), TICKET, "lens_run", uuid4(), {}, 1, 0, 0, owner=owner)
    with purse_of(claim, 30.0):
        assert open_purse() == (purse(claim.database) if owner else None)  # type: ignore[arg-type]
    assert open_purse() is None


def test_no_call_begins_that_can_not_be_paid_for_and_none_is_counted() -> None:
    claim = Claim[Any](RecordedDatabase(exceeded()), TICKET, "lens_run", uuid4(), {}, 1, 0, 0, owner="ada")
    with (
        purse_of(claim, 30.0),
        pytest.raises(GiveUp),
        measured("openai", "gpt-4o", "answer", ceiling=lambda: CEILING),
    ):
        raise AssertionError("must not begin")
    assert claim.calls == []


def test_a_call_that_costs_nothing_asks_nobody() -> None:
    claim = Claim[Any](RecordedDatabase(), TICKET, "lens_run", uuid4(), {}, 1, 0, 0, owner="ada")
    with purse_of(claim, 30.0), measured("openai", "gpt-4o", "poll") as call:
        pass
    assert call.hold is None
