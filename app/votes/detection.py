"""All detectors over one window of votes."""

from __future__ import annotations

from collections.abc import Sequence

from app.votes.addresses import find_clusters
from app.votes.bursts import find_bursts
from app.votes.cadence import find_drips, find_metronomes
from app.votes.newcomers import find_swarms
from app.votes.thresholds import Thresholds
from app.votes.vote import Signal, Vote

_DETECTORS = (find_bursts, find_clusters, find_metronomes, find_drips, find_swarms)


def detect(votes: Sequence[Vote], limits: Thresholds) -> list[Signal]:
    """Every signal that is worth a flag, the surest first.

    `votes` are the battle's newest ones in the order they were cast; the longer they reach back, the better
    known is what is usual there.
    """
    if len(votes) < limits.least_votes:
        return []
    found = [signal for detector in _DETECTORS for signal in detector(votes, limits)]
    return sorted(
        (signal for signal in found if signal.score >= limits.flag_score),
        key=lambda signal: (-signal.score, signal.type),
    )
