"""Holding and settling by hand, of a model whose tokens cost a cent each, so that sums can be read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg2.extras import Json, RealDictCursor

from tests.sql import Connection, call

PRICED = ("acme", "big")


def set_price(
    connection: Connection, usd_per_million: int = 10_000, valid_from: datetime | None = None
) -> None:
    connection.cursor().execute(
        "INSERT INTO worker.model_prices (provider, model, valid_from, usd_per_million_input,"
        " usd_per_million_output, source) VALUES ('acme', 'big', %s, %s, %s, 'test')",
        (valid_from or datetime(2020, 1, 1, tzinfo=UTC), usd_per_million, usd_per_million),
    )


def set_budget(
    connection: Connection, limit: float, period: str = "day", owner: str = "ada", *, own: bool = False
) -> None:
    call(connection, "SELECT worker.set_budget(%s, %s, %s, %s)::text", owner, period, limit, own)


def hold(
    connection: Connection,
    cents: int,
    *,
    owner: str = "ada",
    ticket: UUID | None = None,
    hold_id: UUID | None = None,
    own: bool = False,
    model: tuple[str, str] = PRICED,
    seconds: float = 60,
) -> dict[str, Any]:
    with connection.cursor(cursor_factory=RealDictCursor) as row:
        given = hold_id or uuid4()
        row.execute(
            "SELECT * FROM worker.hold_budget(%s, %s, %s, %s, %s, %s, %s, 0, 0, 0, %s)",
            (given, owner, ticket or uuid4(), own, *model, cents, seconds),
        )
        return {"id": given, **(row.fetchone() or {})}


def settle(
    connection: Connection, hold_id: UUID, cents: int = 0, *, cents_out: int = 0, is_free: bool = False
) -> None:
    """Say what a call cost for its input and its output; 0 is a call of which nobody knows."""
    told = {
        "hold": str(hold_id),
        "is_free": is_free,
        "provider": "acme",
        "model": "big",
        "age_ms": 0,
        "tokens_in": cents,
        "tokens_out": cents_out,
        "tokens_cached": 0,
        "tokens_cache_write": 0,
        "tokens_reasoning": 0,
        "units": 0,
        "seconds": None,
    }
    call(connection, "SELECT worker.settle_holds(%s)::text", Json([told]))


def use(connection: Connection, owner: str = "ada", day: date | None = None) -> dict[str, tuple[int, int]]:
    """What is spent and held of each budget, in cents."""
    with connection.cursor() as row:
        row.execute(
            "SELECT period, spent_usd * 100, held_usd * 100 FROM worker.fn_budget_use(%s, %s)",
            (owner, day or datetime.now(UTC).date()),
        )
        return {period: (int(spent), int(held)) for period, spent, held in row.fetchall()}
