"""Why a call can't be paid for, in words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.errors import GiveUp
from app.settings import settings

_NAMES = {"day": "daily budget", "month": "monthly budget", "total": "budget"}


def raise_refusal(answer: Mapping[str, Any], model: str) -> None:
    """Raise `GiveUp` for what worker.hold_budget answered, unless the call may go out without a hold."""
    if answer["verdict"] == "exceeded":
        raise GiveUp("budget.exceeded", _exceeded(answer))
    if answer["verdict"] == "no_price" and not settings().budget_allow_unpriced:
        raise GiveUp(
            "budget.no_price", f"its owner has a budget, and nobody knows what a call to {model} costs"
        )


def _exceeded(answer: Mapping[str, Any]) -> str:
    ends_at = answer["ends_at"]
    until = f", and the next one begins at {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else ""
    return (
        f"the call may cost up to {_usd(answer['usd'])}: of the owner's {_NAMES[answer['period']]} of"
        f" {_usd(answer['limit_usd'])}, {_usd(answer['left_usd'])} are left{until}"
    )


def _usd(amount: Decimal) -> str:
    """Dollars with their cents, and with smaller parts where there are any."""
    whole, _, parts = f"{amount:.6f}".partition(".")
    return f"{whole}.{parts.rstrip('0'):0<2} USD"
