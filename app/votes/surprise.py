"""How unlikely something is, as the negative decimal logarithm of an upper bound of its probability.

The bounds are Chernoff's: a few logarithms, never too small, and close enough for what is compared here.
"""

from __future__ import annotations

import math

_LN10 = math.log(10)


def of_count(seen: float, expected: float) -> float:
    """Seeing at least so many where a Poisson process lets `expected` of them expect."""
    if seen <= expected:
        return 0.0
    if expected <= 0:
        return math.inf
    return (seen * math.log(seen / expected) - (seen - expected)) / _LN10


def of_share(part: float, whole: float, expected_share: float) -> float:
    """At least `part` of `whole` having a property that each has with the expected probability."""
    if whole <= 0 or part / whole <= expected_share:
        return 0.0
    return whole * _divergence(min(part / whole, 1.0), expected_share) / _LN10


def as_score(surprise: float, even_surprise: float) -> float:
    """A score in [0, 1]: 0.5 at `even_surprise`, and half of what is missing to 1 with each further one."""
    return 1.0 - math.pow(0.5, max(surprise, 0.0) / even_surprise)


def _divergence(share: float, expected: float) -> float:
    """Kullback and Leibler's, between two yes-or-no distributions."""
    bounded = min(max(expected, 1e-9), 1 - 1e-9)
    total = share * math.log(share / bounded) if share > 0 else 0.0
    return total + ((1 - share) * math.log((1 - share) / (1 - bounded)) if share < 1 else 0.0)
