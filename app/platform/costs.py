"""What calls to providers cost in the platform's credits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from app.calls import Call, call_parameters
from app.database import Database


def credits_for(database: Database, calls: Sequence[Call], credits_per_usd: Decimal) -> int:
    """The calls' cost in credits, rounded up; 0 for those that have no price."""
    rows = database.call(
        "SELECT worker.fn_credits_for_calls(%s, %s) AS credits", (call_parameters(calls), credits_per_usd)
    )
    return int(rows[0]["credits"])
