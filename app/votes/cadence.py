"""Timing anomalies: votes for one side that come at a pace which no crowd keeps."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.votes import surprise
from app.votes.thresholds import Thresholds
from app.votes.vote import Signal, Vote

#: A pace is followed from at most this many votes on, and with this many of the next ones as its second.
MAX_STARTS = 200
MAX_SECONDS_TRIED = 12
#: How crowded it is around a vote is told from so many gaps before and after it.
NEIGHBOURHOOD_GAPS = 10
#: Where some vote nearly always falls within the slack, following it proves nothing.
HOPELESS_CHANCE = 0.85
#: Paces faster than this are a burst's business.
SHORTEST_GAP_SECONDS = 0.5


@dataclass(frozen=True)
class _Pace:
    """Votes (their places) that follow one another at nearly equal gaps, and how unlikely that is."""

    members: tuple[int, ...]
    gap_seconds: float
    unlikely: float


def find_metronomes(votes: Sequence[Vote], limits: Thresholds) -> Iterator[Signal]:
    """One signal for each choice: its most regular votes, those of a script with a timer."""
    for choice in {vote.choice for vote in votes}:
        same = [vote for vote in votes if vote.choice == choice]
        pace = _best_pace(same, limits.metronome_jitter, 0.0, limits)
        if pace is not None:
            yield _signal("regular_timing", same, choice, pace, limits.metronome_surprise)


def find_drips(votes: Sequence[Vote], limits: Thresholds) -> Iterator[Signal]:
    """One signal for each choice: unknown voters who keep coming at a pace, for hours on end."""
    for choice in {vote.choice for vote in votes}:
        same = [vote for vote in votes if vote.choice == choice and vote.is_unknown]
        pace = _best_pace(same, limits.drip_jitter, limits.drip_shortest_seconds, limits)
        if pace is not None:
            yield _signal("steady_drip", same, choice, pace, limits.drip_surprise)


def _best_pace(
    votes: Sequence[Vote], jitter: float, shortest_seconds: float, limits: Thresholds
) -> _Pace | None:
    """The least likely pace of those that are long enough, with what trying so many of them is worth."""
    times = [vote.cast_at for vote in votes]
    if len(times) < limits.least_votes:
        return None
    best: _Pace | None = None
    tried = 0
    stride = max(1, math.ceil(len(times) / MAX_STARTS))
    for start in range(0, len(times) - limits.least_votes + 1, stride):
        for second in range(start + 1, min(start + 1 + MAX_SECONDS_TRIED, len(times))):
            tried += 1
            pace = _follow(times, start, second, jitter)
            lasted = times[pace.members[-1]] - times[start]
            long_enough = len(pace.members) >= limits.least_votes and lasted >= shortest_seconds
            if long_enough and (best is None or pace.unlikely > best.unlikely):
                best = pace
    if best is None:
        return None
    return _Pace(best.members, best.gap_seconds, best.unlikely - math.log10(tried))


def _follow(times: Sequence[float], start: int, second: int, jitter: float) -> _Pace:
    """Go on from vote to vote at the pace that the first two give, while there is one when it is due."""
    gap = times[second] - times[start]
    members = [start, second]
    unlikely = 0.0
    while gap >= SHORTEST_GAP_SECONDS:
        due, slack = times[members[-1]] + gap, gap * jitter
        candidates = range(bisect_left(times, due - slack), bisect_right(times, due + slack))
        follower = min(candidates, key=lambda place: abs(times[place] - due), default=None)
        if follower is None or follower <= members[-1]:
            break
        chance = _chance_of_one(times, due, gap, slack)
        if chance > HOPELESS_CHANCE and len(members) == 2:
            break
        unlikely -= math.log10(chance)
        members.append(follower)
        gap = (times[follower] - times[start]) / (len(members) - 1)
    return _Pace(tuple(members), gap, unlikely)


def _chance_of_one(times: Sequence[float], due: float, gap: float, slack: float) -> float:
    """How likely some vote falls within the slack, with votes as dense as they are around it."""
    reach = gap * NEIGHBOURHOOD_GAPS
    near = bisect_right(times, due + reach) - bisect_left(times, due - reach)
    span = min(due + reach, times[-1]) - max(due - reach, times[0])
    return -math.expm1(-near / max(span, gap) * 2 * slack) or 1e-12


def _signal(type_: str, votes: Sequence[Vote], choice: str, pace: _Pace, even_surprise: float) -> Signal:
    times = [votes[place].cast_at for place in pace.members]
    return Signal(
        type_,
        surprise.as_score(pace.unlikely, even_surprise),
        {
            "votes": len(pace.members),
            "gap_seconds": round(pace.gap_seconds, 2),
            "lasted_seconds": round(times[-1] - times[0], 1),
            "choice": choice,
            "began_at": times[0],
        },
        tuple(votes[place].voter_id for place in pace.members),
    )
