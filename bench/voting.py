"""Simulated votes: honest battles with their days, nights and sudden fame, and five kinds of fraud.

Everything about a battle follows from its seed. Times are seconds since the battle's voting opened.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from app.votes import Vote

DAY_SECONDS = 86_400.0
CHOICES = ("contender_a", "contender_b")


@dataclass(frozen=True)
class Battle:
    """The votes of one battle in the order they were cast, and who of the voters is an attacker's."""

    votes: list[Vote]
    attackers: frozenset[UUID]


def honest(seed: int, *, viral: bool) -> Battle:
    """A battle that nobody attacks; a viral one is shared by people with followers once or twice."""
    dice = random.Random(f"honest/{seed}/{viral}")
    votes = [*_regulars(dice)]
    if viral:
        for _ in range(dice.choice((1, 1, 2))):
            votes += _spike(dice, _length(votes))
    return _battle(votes, [])


def attacked(kind: str, seed: int) -> Battle:
    """A battle with one attack; three in ten are viral as well, which is when attackers like to hide."""
    dice = random.Random(f"{kind}/{seed}")
    usual = honest(seed + 1_000_000, viral=dice.random() < 0.3).votes
    return _battle(usual, list(_ATTACKS[kind](dice, _length(usual))))


def kinds() -> list[str]:
    """The kinds of attacks, in the order in which they are reported."""
    return list(_ATTACKS)


def _battle(usual: list[Vote], attack: list[Vote]) -> Battle:
    votes = sorted([*usual, *attack], key=lambda vote: vote.cast_at)
    return Battle(votes, frozenset(vote.voter_id for vote in attack))


def _regulars(dice: random.Random) -> Iterator[Vote]:
    """People who come by day more than by night, some from one household, some from one campus."""
    length = dice.uniform(1, 3) * DAY_SECONDS
    peak_per_hour, phase = math.exp(dice.uniform(math.log(2), math.log(40))), dice.uniform(0, DAY_SECONDS)
    side, unknown_share = dice.uniform(0.3, 0.7), dice.uniform(0.1, 0.4)
    campus = _address(dice)
    at = 0.0
    while (at := at + dice.expovariate(peak_per_hour / 3600)) < length:
        by_day = 0.5 + 0.5 * math.sin((at + phase) / DAY_SECONDS * math.tau)
        if dice.random() > 0.05 + 0.95 * by_day:
            continue
        choice = CHOICES[dice.random() > side]
        address = campus if dice.random() < 0.05 else _address(dice)
        yield _vote(dice, at, choice, _years(dice), dice.random() < unknown_share, address)
        if dice.random() < 0.05:
            later = at + dice.expovariate(1 / 600)
            yield _vote(dice, later, _like(dice, choice, 0.7), _years(dice), dice.random() < 0.5, address)


def _spike(dice: random.Random, length: float) -> Iterator[Vote]:
    """A share that brings a crowd within minutes, which thins out over hours; followers lean to one side."""
    begins = dice.uniform(0.1, 0.85) * length
    size = round(math.exp(dice.uniform(math.log(80), math.log(1_200))))
    rise, decay = dice.uniform(60, 600), dice.uniform(600, 7_200)
    choice, side = dice.choice(CHOICES), dice.uniform(0.5, 0.85)
    unknown_share, campus = dice.uniform(0.3, 0.65), _address(dice)
    for _ in range(size):
        at = begins + dice.uniform(0, rise) + dice.expovariate(1 / decay)
        is_unknown = dice.random() < unknown_share
        just_signed_up = is_unknown and dice.random() < 0.4
        age = dice.expovariate(1 / 600) if just_signed_up else _years(dice)
        address = campus if dice.random() < 0.03 else _address(dice)
        yield _vote(dice, at, _like(dice, choice, side), age, is_unknown, address)


def _burst(dice: random.Random, length: float) -> Iterator[Vote]:
    """A script that casts what it has as fast as it dares."""
    size, lasts = dice.randint(30, 150), math.exp(dice.uniform(math.log(20), math.log(600)))
    begins, choice, unknown_share = _begin(dice, length), dice.choice(CHOICES), dice.uniform(0.85, 1)
    for _ in range(size):
        at = begins + dice.uniform(0, lasts)
        yield _hired(dice, at, _like(dice, choice, 0.98), unknown_share, _address(dice))


def _cluster(dice: random.Random, length: float) -> Iterator[Vote]:
    """Accounts behind one or two addresses, spread over hours."""
    addresses = [_address(dice) for _ in range(dice.choice((1, 1, 2)))]
    begins, lasts = _begin(dice, length), dice.uniform(1, 16) * 3600
    choice, unknown_share = dice.choice(CHOICES), dice.uniform(0.4, 1)
    for _ in range(dice.randint(15, 60)):
        at = begins + dice.uniform(0, lasts)
        yield _hired(dice, at, _like(dice, choice, 0.98), unknown_share, dice.choice(addresses))


def _metronome(dice: random.Random, length: float) -> Iterator[Vote]:
    """A script with a timer; its calls take a little more or less time."""
    gap = math.exp(dice.uniform(math.log(10), math.log(300)))
    at, choice, unknown_share = _begin(dice, length), dice.choice(CHOICES), dice.uniform(0.5, 1)
    for _ in range(dice.randint(30, 120)):
        at += gap * (1 + dice.gauss(0, 0.01))
        yield _hired(dice, at, choice, unknown_share, _address(dice))


def _drip(dice: random.Random, length: float) -> Iterator[Vote]:
    """A script that waits for minutes, never equally long, and goes on through the night."""
    gap = dice.uniform(240, 900)
    at, choice, unknown_share = _begin(dice, length) / 2, dice.choice(CHOICES), dice.uniform(0.9, 1)
    for _ in range(dice.randint(40, 120)):
        at += gap * dice.uniform(0.7, 1.3)
        yield _hired(dice, at, choice, unknown_share, _address(dice))


def _swarm(dice: random.Random, length: float) -> Iterator[Vote]:
    """Accounts that are made for this and vote at once."""
    begins, lasts, choice = _begin(dice, length), dice.uniform(120, 1_200), dice.choice(CHOICES)
    for _ in range(dice.randint(20, 100)):
        at, age = begins + dice.uniform(0, lasts), dice.uniform(5, 600)
        yield _vote(dice, at, _like(dice, choice, 0.98), age, is_unknown=True, address=_address(dice))


_ATTACKS = {
    "burst": _burst,
    "cluster": _cluster,
    "metronome": _metronome,
    "slow_drip": _drip,
    "new_account_swarm": _swarm,
}


def _hired(dice: random.Random, at: float, choice: str, unknown_share: float, address: str) -> Vote:
    """The vote of an account that was made days to weeks before."""
    age = dice.uniform(1, 60) * DAY_SECONDS
    return _vote(dice, at, choice, age, dice.random() < unknown_share, address)


def _vote(dice: random.Random, at: float, choice: str, age: float, is_unknown: bool, address: str) -> Vote:
    return Vote(
        UUID(int=dice.getrandbits(128)), UUID(int=dice.getrandbits(128)), choice, at, age, is_unknown, address
    )


def _like(dice: random.Random, choice: str, share: float) -> str:
    """The choice with that probability, else the other one."""
    return choice if dice.random() < share else CHOICES[choice == CHOICES[0]]


def _years(dice: random.Random) -> float:
    """The age of an ordinary account: a few months, some of them years."""
    return math.exp(dice.gauss(math.log(120), 1.3)) * DAY_SECONDS


def _address(dice: random.Random) -> str:
    return f"{dice.getrandbits(64):016x}"


def _length(votes: list[Vote]) -> float:
    return max((vote.cast_at for vote in votes), default=DAY_SECONDS)


def _begin(dice: random.Random, length: float) -> float:
    return dice.uniform(0.05, 0.8) * length
