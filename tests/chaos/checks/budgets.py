"""Whether owners spent no more than they may, and the books have all that providers bill."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from app.local.provider_usage import Used
from tests.chaos.evidence import Evidence, Row, seconds_of
from tests.chaos.terms import owner_of

_MILLION = Decimal(1_000_000)
#: Of the cheapest model, with the longest answer.
MOST_USD_OF_A_TEXT = Decimal("0.0001")


def no_budget_is_overspent(evidence: Evidence) -> Iterator[str]:
    """What is spent and held of a budget is within its limit, and so is what providers bill."""
    for budget in evidence["budgets"]:
        owner, limit = budget["owner"], budget["limit_usd"]
        booked = budget["spent_usd"] + budget["held_usd"]
        for name, usd in (("booked", booked), ("billed", billed_usd(evidence, owner))):
            if usd > limit:
                yield f"{usd} USD are {name} for {owner}, of {limit}"


def all_that_is_billed_is_booked(evidence: Evidence) -> Iterator[str]:
    """No provider bills what the owner's books don't have, whoever died before it could tell."""
    for budget in evidence["budgets"]:
        booked, billed = budget["spent_usd"] + budget["held_usd"], billed_usd(evidence, budget["owner"])
        if billed > booked:
            yield f"{billed} USD are billed for {budget['owner']}, and {booked} booked"


def holds_are_open_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """Money stays set aside only for a call whose attempt was cut short, so that nobody could tell of it."""
    claims = {claim["message_id"]: claim for claim in evidence["claims"]}
    runs = [claim for claim in evidence["claims"] if claim["kind"] in ("workflow_run", "team_run")]
    for hold in evidence["open_holds"]:
        # A node's call has a ticket of its own, which doesn't tell of its run.
        own = [claims[hold["ticket"]]] if hold["ticket"] in claims else runs
        if not any(_was_cut(claim, hold["taken_at"]) for claim in own):
            yield f"{hold['usd']} USD are held since {hold['taken_at']:.3f} for {hold['ticket']}"


def is_used_up(evidence: Evidence, owner: str) -> bool:
    """Whether an owner's budget has no room left for the most that one more text can cost.

    A worker that was taken for dead and then told what its call had cost made room once more.
    """
    own = {row["id"] for row in evidence["lens_runs"] if row["owner"] == owner}
    told_late = sum(claim["deaths"] for claim in evidence["claims"] if claim["job"] in own)
    return any(
        budget["limit_usd"] - budget["spent_usd"] < (1 + told_late) * MOST_USD_OF_A_TEXT
        for budget in evidence["budgets"]
        if budget["owner"] == owner
    )


def billed_usd(evidence: Evidence, owner: str) -> Decimal:
    """What providers bill for an owner's texts."""
    prices = {(price["provider"], price["model"]): price for price in evidence["prices"]}
    return sum(
        (
            _cost_usd(_price_of(prices, asked.provider, asked.model), asked.used)
            for asked in evidence.asked
            if asked.used is not None and owner_of(asked) == owner
        ),
        Decimal(0),
    )


def _price_of(prices: dict[tuple[str, str], Row], provider: str, model: str) -> Row:
    """The price of a model, by the name that its provider knows it by."""
    (price,) = [
        price
        for (of, name), price in prices.items()
        if of == provider and (name == model or model.startswith(f"{name}-20"))
    ]
    return price


def _cost_usd(price: Row, used: Used) -> Decimal:
    usd_per_million = (
        used.prompt * price["usd_per_million_input"] + used.made * price["usd_per_million_output"]
    )
    return Decimal(usd_per_million / _MILLION)


def _was_cut(claim: Row, at: float) -> bool:
    """Whether the attempt that a claim was at then ended without a word of its calls."""
    return any(
        entry["ended"] != "error" and seconds_of(entry["from"]) <= at <= seconds_of(entry["to"])
        for entry in claim["history"]
    )
