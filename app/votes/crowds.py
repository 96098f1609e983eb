"""Whether a group of votes agrees more, or stands out more, than an honest crowd can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.votes import surprise
from app.votes.thresholds import Thresholds
from app.votes.vote import Vote


@dataclass(frozen=True)
class Agreement:
    """How one-sided a group is: its choice, how many made it, how many of these stand out, how unlikely."""

    choice: str
    agreeing: int
    standing_out: int
    surprise: float


@dataclass(frozen=True)
class Trait:
    """What makes a voter stand out, and which share of an honest rush may have it."""

    of: Callable[[Vote], bool]
    honest_share: float


def unknown(limits: Thresholds) -> Trait:
    """Voters whom nobody has seen in another battle."""
    return Trait(lambda vote: vote.is_unknown, limits.honest_unknown_share)


def just_signed_up(limits: Thresholds) -> Trait:
    """Voters whose account is new."""
    return Trait(lambda vote: vote.account_age_seconds < limits.new_account_seconds, limits.honest_new_share)


def agreement(group: Sequence[Vote], others: Sequence[Vote], trait: Trait, limits: Thresholds) -> Agreement:
    """How one-sided `group` is, measured by the other votes of the battle and by what honest rushes are like.

    Two questions are asked: is too large a part of one mind, and is too large a part of one mind and stands
    out at once. The less likely answer counts.
    """
    choice, agreeing = Counter(vote.choice for vote in group).most_common(1)[0]
    standing_out = sum(vote.choice == choice and trait.of(vote) for vote in group)
    side = max(share(others, lambda vote: vote.choice == choice), limits.honest_side_share)
    both = max(
        share(others, lambda vote: vote.choice == choice and trait.of(vote)),
        limits.honest_side_share * trait.honest_share,
    )
    unlikely = max(
        surprise.of_share(agreeing, len(group), side), surprise.of_share(standing_out, len(group), both)
    )
    return Agreement(choice, agreeing, standing_out, unlikely)


def share(votes: Sequence[Vote], holds: Callable[[Vote], bool]) -> float:
    """The share of votes for which it holds, with one imaginary vote for and one against."""
    return (sum(map(holds, votes)) + 1) / (len(votes) + 2)
