"""The terms that work is done under: what providers take at once and a minute, and what owners may spend."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.platform import ensure_model
from app.local.seeds import seeded_id
from tests.chaos.outside import LONGEST_ANSWER_TOKENS, Asked

#: A minute, as providers count.
WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Limit:
    """What a provider takes, for one of its models or for all of them together."""

    provider: str
    model: str | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}" if self.model else self.provider

    def covers(self, asked: Asked) -> bool:
        """Whether a request is one of those that are limited together."""
        return asked.provider == self.provider and self.model in (None, asked.model)


LIMITS = (
    Limit("openai", concurrency=20),
    Limit("openai", "gpt-4o", concurrency=10),
    Limit("openai", "gpt-4.1-mini", requests_per_minute=40),
    Limit("anthropic", concurrency=3),
)

#: Whose budget is never used up, and whose is before all is done.
RICH, THRIFTY = "ada", "grace"
#: Owner -> the period and the limit of the budget, in US dollars.
BUDGETS = {RICH: ("month", 1000.0), THRIFTY: ("total", 0.001)}

_PRICES = """
    INSERT INTO worker.model_prices (
        provider, model, valid_from, usd_per_million_input, usd_per_million_output, usd_per_image, source)
    VALUES ('openai', 'gpt-4o-mini', '2025-01-01', 0.15, 0.6, NULL, 'chaos'),
           ('openai', 'gpt-4.1-mini', '2025-01-01', 0.4, 1.6, NULL, 'chaos'),
           ('openai', 'gpt-image-1', '2025-01-01', NULL, NULL, 0.04, 'chaos')"""


def environment() -> dict[str, str]:
    """What tells the workers of the terms."""
    limits: dict[str, dict[str, Any]] = {
        str(limit): {
            name: most
            for name in ("requests_per_minute", "concurrency")
            if (most := getattr(limit, name)) is not None
        }
        for limit in LIMITS
    }
    return {
        "WORKER_PROVIDER_LIMITS": json.dumps(limits),
        "WORKER_BUDGET_MAX_OUTPUT_TOKENS": str(LONGEST_ANSWER_TOKENS),
    }


def agree(session: Connection) -> None:
    """Give models their prices and owners their budgets."""
    ensure_model(session, "gpt-4.1-mini", "openai")
    with session.cursor() as row:
        row.execute(_PRICES)
        for owner, (period, limit_usd) in BUDGETS.items():
            row.execute(
                "SELECT worker.set_budget(%s::text, %s, %s)",
                (seeded_id("person", owner), period, limit_usd),
            )


def owner_of(asked: Asked) -> str:
    """Who pays for a request."""
    return str(seeded_id("person", THRIFTY if "thrifty text" in asked.prompt else RICH))
