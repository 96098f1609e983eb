"""What detectors see in crowds and in attacks, and what leaves them cold."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.votes import Thresholds, Vote, detect
from tests.unit.votes.examples import DAY, crowd, in_order, vote

LIMITS = Thresholds()
SEEDS = st.integers(0, 2**32)

Attack = Callable[[random.Random], list[Vote]]


def burst(dice: random.Random) -> list[Vote]:
    return [vote(20_000 + dice.uniform(0, 60), unknown=True, age=DAY, dice=dice) for _ in range(80)]


def cluster(dice: random.Random) -> list[Vote]:
    return [vote(dice.uniform(0, 40_000), address="ab", dice=dice) for _ in range(40)]


def metronome(dice: random.Random) -> list[Vote]:
    return [vote(5_000 + 60 * n + dice.gauss(0, 0.5), dice=dice) for n in range(60)]


def drip(dice: random.Random) -> list[Vote]:
    return [vote(500 + 400 * n + dice.uniform(-60, 60), unknown=True, age=DAY, dice=dice) for n in range(90)]


def swarm(dice: random.Random) -> list[Vote]:
    return [
        vote(9_000 + dice.uniform(0, 500), unknown=True, age=dice.uniform(5, 300), dice=dice)
        for _ in range(60)
    ]


ATTACKS = pytest.mark.parametrize(
    ("attack", "type_"),
    [
        (burst, "burst_voting"),
        (cluster, "shared_address"),
        (metronome, "regular_timing"),
        (drip, "steady_drip"),
        (swarm, "new_account_swarm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_people_who_do_not_know_each_other_are_left_alone(seed: int) -> None:
    assert detect(crowd(seed), LIMITS) == []


@ATTACKS
def test_each_attack_goes_by_its_name(attack: Attack, type_: str) -> None:
    rigged = attack(random.Random(3))
    signals = {signal.type: signal for signal in detect(in_order([*crowd(4), *rigged]), LIMITS)}
    guilty = {each.voter_id for each in rigged}
    accused = set(signals[type_].voters)
    assert len(accused & guilty) >= 0.7 * len(guilty)
    assert len(accused & guilty) >= 0.85 * len(accused)


@ATTACKS
def test_the_clocks_zero_does_not_matter(attack: Attack, type_: str) -> None:
    given_votes = in_order([*crowd(5), *attack(random.Random(6))])
    # To 1/64 s, so that moving them is exact.
    votes = in_order(replace(each, cast_at=round(each.cast_at * 64) / 64) for each in given_votes)
    later = [replace(each, cast_at=each.cast_at + 1_000 * DAY) for each in votes]
    summary = [
        [(s.type, round(s.score, 3), s.voters) for s in detect(given, LIMITS)] for given in (votes, later)
    ]
    assert summary[0] == summary[1]


@ATTACKS
def test_which_side_an_attack_is_for_does_not_matter(attack: Attack, type_: str) -> None:
    votes = in_order([*crowd(7), *attack(random.Random(8))])
    swap = {"contender_a": "contender_b", "contender_b": "contender_a"}
    swapped = [replace(each, choice=swap[each.choice]) for each in votes]
    found = [{(s.type, round(s.score, 6)) for s in detect(given, LIMITS)} for given in (votes, swapped)]
    assert found[0] == found[1]


VOTES = st.lists(
    st.builds(
        vote,
        st.floats(0, 1e6),
        st.sampled_from(["contender_a", "contender_b", "draw"]),
        age=st.floats(0, 1e9),
        unknown=st.booleans(),
        address=st.sampled_from([None, "a", "b"]),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(VOTES)
def test_whatever_the_votes_scores_are_within_bounds_and_voters_voted(votes: list[Vote]) -> None:
    there = {each.voter_id for each in votes}
    for signal in detect(in_order(votes), LIMITS):
        assert LIMITS.flag_score <= signal.score <= 1
        assert signal.voters
        assert set(signal.voters) <= there


@given(st.integers(0, 7))
def test_a_family_is_no_anomaly(count: int) -> None:
    assert detect([vote(float(n), address="home", unknown=True) for n in range(count)], LIMITS) == []


def test_a_rush_in_which_both_sides_share_is_no_anomaly() -> None:
    dice = random.Random(11)
    rush = [
        vote(20_000 + dice.expovariate(1 / 900), dice.choice(["contender_a", "contender_b"]), dice=dice)
        for _ in range(600)
    ]
    assert detect(in_order([*crowd(12), *rush]), LIMITS) == []


def test_a_campus_that_votes_like_everybody_is_no_anomaly() -> None:
    dice = random.Random(13)
    campus = [
        vote(
            dice.uniform(0, 40_000), dice.choice(["contender_a", "contender_b"]), address="campus", dice=dice
        )
        for _ in range(60)
    ]
    assert detect(in_order([*crowd(14), *campus]), LIMITS) == []


def test_thousands_of_votes_at_the_same_instant_are_looked_at_quickly() -> None:
    dice = random.Random(15)
    rush = [vote(1.0, dice=dice) for _ in range(5_000)]
    began = time.process_time()
    assert "burst_voting" in {signal.type for signal in detect(rush, LIMITS)}
    assert time.process_time() - began < 1.0
