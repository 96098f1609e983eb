"""Burst voting: far more votes at once than the hours around let expect, and nearly all of one mind."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.votes import surprise
from app.votes.crowds import agreement, unknown
from app.votes.thresholds import Thresholds
from app.votes.vote import Signal, Vote

#: The rate before a burst, and after it, is taken from this many times its length.
NEIGHBOURHOOD = 12


@dataclass(frozen=True)
class _Window:
    """Votes `first` up to, but not including, `last`, and how unlikely that many at once are."""

    first: int
    last: int
    seconds: float
    expected: float
    unlikely: float


@dataclass(frozen=True)
class _Burst:
    """A window's verdict."""

    unlikely: float
    evidence: dict[str, Any]
    voters: tuple[UUID, ...]


def find_bursts(votes: Sequence[Vote], limits: Thresholds) -> Iterator[Signal]:
    """One signal for each length of window: its worst burst. A rush alone, which fame brings, is none.

    Whose votes are meant is told by all windows of that length that are beyond the threshold.
    """
    times = [vote.cast_at for vote in votes]
    for seconds in limits.burst_windows_seconds:
        found = [_judge(votes, window, limits) for window in _rushes(times, seconds, limits)]
        if not found:
            continue
        worst = max(found, key=lambda burst: burst.unlikely)
        bursts = [burst for burst in found if burst.unlikely >= limits.burst_surprise]
        voters = dict.fromkeys(voter for burst in bursts for voter in burst.voters)
        yield Signal(
            "burst_voting",
            surprise.as_score(worst.unlikely, limits.burst_surprise),
            worst.evidence,
            tuple(voters),
        )


def _judge(votes: Sequence[Vote], window: _Window, limits: Thresholds) -> _Burst:
    """A rush is as suspicious as the more likely of its two sides: the rate, and the agreement."""
    inside = votes[window.first : window.last]
    others = [*votes[: window.first], *votes[window.last :]]
    crowd = agreement(inside, others, unknown(limits), limits)
    evidence = {
        "votes": len(inside),
        "within_seconds": window.seconds,
        "expected_votes": round(window.expected, 2),
        "choice": crowd.choice,
        "agreeing": crowd.agreeing,
        "without_history": crowd.standing_out,
        "began_at": inside[0].cast_at,
    }
    voters = tuple(vote.voter_id for vote in inside if vote.choice == crowd.choice)
    return _Burst(min(window.unlikely, crowd.surprise), evidence, voters)


def _rushes(times: Sequence[float], seconds: float, limits: Thresholds) -> Iterator[_Window]:
    """Windows with far more votes than their neighbourhood, none of which overlaps the one before."""
    free_from = 0
    for first, start in enumerate(times):
        if first < free_from:
            continue
        last = bisect_left(times, start + seconds, lo=first)
        if last - first < limits.least_votes:
            continue
        reach = seconds * NEIGHBOURHOOD
        before = first - bisect_left(times, start - reach)
        after = bisect_left(times, start + seconds + reach) - last
        spans = [
            (before, min(reach, start - times[0])),
            (after, min(reach, max(times[-1] - start - seconds, 0.0))),
        ]
        known = [(count, span) for count, span in spans if span >= seconds]
        expected = seconds * max(((count + 1) / span for count, span in known), default=1 / seconds)
        if last - first >= limits.burst_rate_ratio * expected:
            yield _Window(first, last, seconds, expected, surprise.of_count(last - first, expected))
            free_from = first + max(1, (last - first) // 4)
