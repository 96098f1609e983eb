"""The battles of the demo: contenders of every kind, one who stumbles, and two who are given up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from app.local.battles import Contender
from app.local.seeds import seeded_id

TASK = "Praise the sea in one line."

_OPPONENT = Contender("claude-haiku-4-5")


@dataclass(frozen=True)
class BattleCase:
    """Equal battles, and the ends that their jobs in slots A and B must come to.

    `error_code` is that of A's dead letter, where it is to be given up; B always answers. `mishaps` are
    scenarios of the provider server that A's first calls meet, each of which costs a try. `asked` is what
    A's provider must see.
    """

    label: str
    contender: Contender
    opponent: Contender = _OPPONENT
    asked: str = TASK
    error_code: str | None = None
    mishaps: tuple[str, ...] = ()
    count: int = 1
    battle_ids: list[UUID] = field(default_factory=list)


def battle_cases() -> Iterator[BattleCase]:
    """Every case, in the order to show them."""
    yield BattleCase("two models", Contender("gpt-5.4-mini"), Contender("gemini-2.5-flash"), count=5)
    yield BattleCase("an agent with a persona", Contender("mistral-large-3", persona="Speak like a pirate."))
    yield BattleCase(
        "a contender with a lens",
        Contender("gpt-5.4", lens="summary", inputs={"tone": "Formal"}),
        asked=f"Write in a formal tone. Summarise: {TASK}",
    )
    yield BattleCase(
        "own API key", Contender("gpt-4o", byok_key_id=_own_key(), funding_source="user_byok_cloud")
    )
    yield BattleCase(
        "fails twice, then answers", Contender("demo-stumbling", "openai"), mishaps=("503", "500")
    )
    yield BattleCase(
        "one contender runs out of tries",
        Contender("demo+503", "openai"),
        error_code="execute.max_retries_exceeded",
    )
    yield BattleCase(
        "one contender is refused", Contender("demo+policy", "openai"), error_code="provider.content_refused"
    )


def _own_key() -> UUID:
    return seeded_id("key", "active")
