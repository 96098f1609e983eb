"""Votes to try detectors on, made from plain numbers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from uuid import UUID

from app.votes import Vote

DAY = 86_400.0


def vote(
    at: float,
    choice: str = "contender_a",
    *,
    age: float = 90 * DAY,
    unknown: bool = False,
    address: str | None = None,
    dice: random.Random | None = None,
) -> Vote:
    draw = dice or random.Random(f"{at}/{choice}/{age}")
    return Vote(
        UUID(int=draw.getrandbits(128)), UUID(int=draw.getrandbits(128)), choice, at, age, unknown, address
    )


def crowd(seed: int, count: int = 150, hours: float = 12) -> list[Vote]:
    """People who don't know each other: evenly divided, at random times, three in ten without history."""
    dice = random.Random(seed)
    return in_order(
        vote(
            dice.uniform(0, hours * 3600),
            dice.choice(["contender_a", "contender_b"]),
            unknown=dice.random() < 0.3,
            address=f"{dice.getrandbits(64):x}",
            dice=dice,
        )
        for _ in range(count)
    )


def in_order(votes: Iterable[Vote]) -> list[Vote]:
    return sorted(votes, key=lambda each: each.cast_at)
