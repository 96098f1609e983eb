"""New accounts that vote together: made for one battle, and within minutes of each other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from app.votes import surprise
from app.votes.crowds import Trait, agreement, just_signed_up
from app.votes.thresholds import Thresholds
from app.votes.vote import Signal, Vote


def find_swarms(votes: Sequence[Vote], limits: Thresholds) -> Iterator[Signal]:
    """The worst crowd of new accounts, if any: so many of all who vote at that time, and of one mind."""
    trait = just_signed_up(limits)
    times = [vote.cast_at for vote in votes]
    worst: Signal | None = None
    free_from = 0
    for first, vote in enumerate(votes):
        if first < free_from or not trait.of(vote):
            continue
        last = bisect_left(times, vote.cast_at + limits.swarm_window_seconds, lo=first)
        crowd = votes[first:last]
        if sum(map(trait.of, crowd)) < limits.least_votes:
            continue
        free_from = first + max(1, len(crowd) // 8)
        signal = _judge(crowd, [*votes[:first], *votes[last:]], trait, limits)
        if worst is None or signal.score > worst.score:
            worst = signal
    if worst is not None:
        yield worst


def _judge(crowd: Sequence[Vote], others: Sequence[Vote], trait: Trait, limits: Thresholds) -> Signal:
    found = agreement(crowd, others, trait, limits)
    new = [vote for vote in crowd if vote.choice == found.choice and trait.of(vote)]
    return Signal(
        "new_account_swarm",
        surprise.as_score(found.surprise, limits.swarm_surprise),
        {
            "votes": len(crowd),
            "within_seconds": limits.swarm_window_seconds,
            "choice": found.choice,
            "agreeing": found.agreeing,
            "new_accounts": len(new),
            "began_at": crowd[0].cast_at,
        },
        tuple(vote.voter_id for vote in new),
    )
