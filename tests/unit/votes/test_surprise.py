"""Bounds of probabilities, held against the exact ones."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from app.votes import surprise


def exact_poisson_tail(seen: int, expected: float) -> float:
    terms = (-expected + k * math.log(expected) - math.lgamma(k + 1) for k in range(seen, seen + 400))
    return sum(map(math.exp, terms))


def exact_binomial_tail(part: int, whole: int, share: float) -> float:
    return sum(math.comb(whole, k) * share**k * (1 - share) ** (whole - k) for k in range(part, whole + 1))


@given(st.integers(1, 60), st.floats(0.1, 30))
def test_a_count_is_never_said_to_be_less_likely_than_it_is(seen: int, expected: float) -> None:
    assert surprise.of_count(seen, expected) <= -math.log10(exact_poisson_tail(seen, expected)) + 1e-6


@given(st.integers(1, 60), st.data(), st.floats(0.05, 0.95))
def test_a_share_is_never_said_to_be_less_likely_than_it_is(
    whole: int, data: st.DataObject, share: float
) -> None:
    part = data.draw(st.integers(0, whole))
    exact = exact_binomial_tail(part, whole, share)
    assert surprise.of_share(part, whole, share) <= -math.log10(min(exact, 1.0)) + 1e-6


@given(st.floats(0, 1e3), st.floats(0.1, 10))
def test_a_score_is_a_half_at_its_even_surprise_and_grows(unlikely: float, even: float) -> None:
    assert surprise.as_score(even, even) == 0.5
    assert 0 <= surprise.as_score(unlikely, even) <= surprise.as_score(unlikely + 1, even) <= 1


def test_what_can_not_be_is_infinitely_surprising() -> None:
    assert surprise.of_count(1, 0) == math.inf
    assert surprise.as_score(math.inf, 2) == 1
