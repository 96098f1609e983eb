"""Properties of discussions: whoever answers in whatever order, they end, and resume from any point."""

from __future__ import annotations

import random
from collections.abc import Mapping
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.teams import (
    Accepted,
    Member,
    Next,
    PersonNeeded,
    Rejected,
    Role,
    Speak,
    Team,
    Turn,
    TurnKey,
    TurnKind,
    result_of,
    visible_turns,
    what_next,
)

ROUNDS = 3
WORDS = {
    "accept": "Fine.\nVERDICT: ACCEPT",
    "reject": "VERDICT: REJECT, too dull",
    "ask": "VERDICT: ASK",
    "unclear": "Well.",
}


def member(number: int, role: Role, lane: int = 0) -> Member:
    return Member(UUID(int=number), f"M{number}", role, lane, number)


ALONE = member(999, Role.EXECUTOR)
members = st.lists(st.tuples(st.sampled_from(Role), st.integers(0, 3)), max_size=7).map(
    lambda places: [member(number, role, lane) for number, (role, lane) in enumerate(places)]
)
teams = st.builds(lambda found, gated: Team.gather(found, ALONE, lambda _: gated), members, st.booleans())


def words(turn: Turn, seed: int) -> str:
    """What a member says, the same each time it is asked."""
    if turn.kind is not TurnKind.REVIEW:
        return f"{turn.title} by {turn.member.name}"
    return WORDS[random.Random(f"{turn.key} {seed}").choice(list(WORDS))]


def go_on(
    team: Team, said: dict[TurnKey, str], seed: int, dice: random.Random, most_turns: int = 10_000
) -> Next | None:
    """Have members speak in any order until the end, or until so many have spoken."""
    for _ in range(most_turns):
        following = what_next(team, said, approved=(), most_rounds=ROUNDS)
        if not isinstance(following, Speak):
            return following
        turn = dice.choice(following.turns)
        assert turn.key not in said, "nobody is asked twice"
        assert all(heard.key in said for heard in visible_turns(team, turn)), "what is heard was said"
        said[turn.key] = words(turn, seed)
    return None


@given(team=teams, seed=st.integers(), order=st.randoms(use_true_random=False))
def test_every_discussion_ends_within_its_bound(team: Team, seed: int, order: random.Random) -> None:
    said: dict[TurnKey, str] = {}
    end = go_on(team, said, seed, order)
    assert isinstance(end, Accepted | Rejected | PersonNeeded)
    assert len(said) <= 1 + ROUNDS * (len(team.workers) + 1 + len(team.reviewers))
    if isinstance(end, Accepted):
        assert result_of(end.turns, said)


@given(team=teams, seed=st.integers(), one=st.randoms(use_true_random=False), other=st.randoms())
def test_who_is_faster_makes_no_difference(
    team: Team, seed: int, one: random.Random, other: random.Random
) -> None:
    first: dict[TurnKey, str] = {}
    second: dict[TurnKey, str] = {}
    assert go_on(team, first, seed, one) == go_on(team, second, seed, other)
    assert first == second


@given(team=teams, seed=st.integers(), order=st.randoms(use_true_random=False), cut=st.integers(0, 20))
def test_a_discussion_that_stopped_anywhere_ends_as_if_it_had_not(
    team: Team, seed: int, order: random.Random, cut: int
) -> None:
    whole: dict[TurnKey, str] = {}
    end = go_on(team, whole, seed, order)
    resumed: dict[TurnKey, str] = {}
    go_on(team, resumed, seed, order, most_turns=cut)
    assert go_on(team, dict(resumed), seed, order) == end


@given(team=teams, seed=st.integers(), order=st.randoms(use_true_random=False))
def test_lanes_keep_their_order_and_nobody_reviews_his_own_work(
    team: Team, seed: int, order: random.Random
) -> None:
    said: dict[TurnKey, str] = {}
    go_on(team, said, seed, order)
    spoken = [key.agent_id for key in said if key.title == "Work, round 1"]
    for lane in team.lanes:
        ids = [worker.agent_id for worker in lane]
        assert [agent for agent in spoken if agent in ids] == ids
    workers = {worker.agent_id for worker in team.workers}
    assert workers.isdisjoint(reviewer.agent_id for reviewer in team.reviewers)


@given(found=members)
def test_somebody_always_works_and_observers_never_speak(found: list[Member]) -> None:
    team = Team.gather(found, ALONE, lambda _: True)
    assert team.workers
    speaking = {*team.workers, *team.reviewers, *([team.leader] if team.leader else [])}
    assert all(someone.role is not Role.OBSERVER for someone in speaking)


def review_round(team: Team, verdicts: Mapping[int, str]) -> dict[TurnKey, str]:
    """A first round in which reviewers said these words."""
    said = {Turn(TurnKind.WORK, worker).key: "work" for worker in team.workers}
    return said | {Turn(TurnKind.REVIEW, team.reviewers[n]).key: WORDS[word] for n, word in verdicts.items()}


TWO_REVIEWERS = Team.gather(
    [member(1, Role.EXECUTOR), member(2, Role.REVIEWER), member(3, Role.REVIEWER)], ALONE, lambda _: True
)


@pytest.mark.parametrize(
    ("verdicts", "end"),
    [
        (("accept", "accept"), Accepted),
        (("accept", "reject"), Rejected),
        (("ask", "reject"), Rejected),
        (("accept", "ask"), PersonNeeded),
        (("accept", "unclear"), PersonNeeded),
    ],
    ids=str,
)
def test_one_rejection_sends_back_and_one_doubt_asks_a_person(
    verdicts: tuple[str, str], end: type[Next]
) -> None:
    said = review_round(TWO_REVIEWERS, dict(enumerate(verdicts)))
    assert isinstance(what_next(TWO_REVIEWERS, said, approved=(), most_rounds=1), end)


def test_a_persons_word_stands_for_the_reviewers() -> None:
    said = review_round(TWO_REVIEWERS, {0: "accept", 1: "ask"})
    approved = ["Review, round 1"]
    assert isinstance(what_next(TWO_REVIEWERS, said, approved=approved, most_rounds=1), Accepted)
