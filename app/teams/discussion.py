"""The course of a discussion: plan, work in lanes, conclusion, review, and again if it is sent back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from app.teams.members import Team
from app.teams.reviews import Review, ReviewVerdict, read_review
from app.teams.turns import Turn, TurnKey, TurnKind

#: What has been said, by turn.
Said = Mapping[TurnKey, str]


@dataclass(frozen=True)
class Speak:
    """These turns are next, all at once; one that was begun already is among them until it is said."""

    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Accepted:
    """The discussion is over, and what was said in these turns is its result."""

    turns: tuple[Turn, ...]
    round: int


@dataclass(frozen=True)
class Rejected:
    """The work was sent back as often as may be."""

    reason: str


@dataclass(frozen=True)
class PersonNeeded:
    """A reviewer leaves the decision to a person, or said neither yes nor no."""

    turn: Turn
    reason: str


Next = Speak | Accepted | Rejected | PersonNeeded


def what_next(team: Team, said: Said, *, approved: Collection[str], most_rounds: int) -> Next:
    """What follows from what was said; `approved` are the titles of reviews that a person decided for.

    Each turn is asked for until it is said and never again, and at most
    `1 + most_rounds * (workers + 1 + reviewers)` turns are.
    """
    if team.leader is not None:
        plan = Turn(TurnKind.PLAN, team.leader)
        if plan.key not in said:
            return Speak((plan,))
    reasons: list[str] = []
    for number in range(1, most_rounds + 1):
        following = _rest_of_round(team, said, number)
        if following is not None:
            return following
        judged = _judge(team, said, approved, number)
        if isinstance(judged, Accepted | PersonNeeded):
            return judged
        reasons = judged
    return Rejected("; ".join(reasons))


def visible_turns(team: Team, turn: Turn) -> list[Turn]:
    """What the member has heard when it speaks: never anything that depends on how fast another lane is.

    The plan, the result and the reviews of the round before, and of this round what was said earlier in the
    member's own lane. Who concludes hears all lanes, who reviews the result alone.
    """
    heard = [Turn(TurnKind.PLAN, team.leader)] if team.leader and turn.kind is not TurnKind.PLAN else []
    if turn.round > 1:
        heard += _results(team, turn.round - 1) + _reviews(team, turn.round - 1)
    if turn.kind is TurnKind.REVIEW:
        return [*heard, *_results(team, turn.round)]
    if turn.kind is TurnKind.CONCLUSION:
        return [*heard, *(Turn(TurnKind.WORK, member, turn.round) for member in team.workers)]
    if turn.kind is TurnKind.WORK:
        lane = next(lane for lane in team.lanes if turn.member in lane)
        heard += [Turn(TurnKind.WORK, m, turn.round) for m in lane[: lane.index(turn.member)]]
    return heard


def _rest_of_round(team: Team, said: Said, number: int) -> Speak | None:
    """What is still to be said in a round: work, then the conclusion, then reviews."""
    lanes = ((Turn(TurnKind.WORK, member, number) for member in lane) for lane in team.lanes)
    for turns in (
        [open_ones[0] for lane in lanes if (open_ones := _unsaid(lane, said))],
        _unsaid(_conclusion(team, number), said),
        _unsaid(_reviews(team, number), said),
    ):
        if turns:
            return Speak(tuple(turns))
    return None


def _judge(
    team: Team, said: Said, approved: Collection[str], number: int
) -> Accepted | PersonNeeded | list[str]:
    """What the reviews of a finished round come to; a list of reasons sends the work back."""
    reviews = [(turn, read_review(said[turn.key])) for turn in _reviews(team, number)]
    reasons = [_reason(turn, review) for turn, review in reviews if review.verdict is ReviewVerdict.REJECT]
    if reasons:
        return reasons
    for turn, review in reviews:
        if review.verdict is ReviewVerdict.ASK and turn.title not in approved:
            return PersonNeeded(turn, _reason(turn, review))
    return Accepted(tuple(_results(team, number)), number)


def _results(team: Team, number: int) -> list[Turn]:
    """The turns in which a round's result was said: the conclusion, or the last word of each lane."""
    return _conclusion(team, number) or [Turn(TurnKind.WORK, lane[-1], number) for lane in team.lanes]


def _conclusion(team: Team, number: int) -> list[Turn]:
    return [Turn(TurnKind.CONCLUSION, team.leader, number)] if team.leader and team.concludes else []


def _reviews(team: Team, number: int) -> list[Turn]:
    return [Turn(TurnKind.REVIEW, reviewer, number) for reviewer in team.reviewers]


def _unsaid(turns: Iterable[Turn], said: Said) -> list[Turn]:
    return [turn for turn in turns if turn.key not in said]


def _reason(turn: Turn, review: Review) -> str:
    return f"{turn.member.name}: {review.reason}"
