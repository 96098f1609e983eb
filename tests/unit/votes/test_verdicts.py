"""Which actions follow from which scores."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.votes import Action, Signal, Thresholds, decide

BATTLE, VOTER = UUID(int=1), UUID(int=2)
LIMITS = Thresholds()


def verdict(score: float, reasons: dict[str, float] | None = None) -> list[Action]:
    signal = Signal("burst_voting", score, {"votes": 9}, (VOTER,))
    return decide(BATTLE, [signal], {VOTER: reasons or {}}, LIMITS)


@pytest.mark.parametrize(
    ("score", "kinds"),
    [
        (0.5, ["flag", "risk"]),
        (0.75, ["flag", "risk", "decision", "notify"]),
        (0.9, ["flag", "risk", "decision", "notify", "hold"]),
    ],
)
def test_the_surer_the_more_is_done(score: float, kinds: list[str]) -> None:
    assert [action.action for action in verdict(score)] == kinds


def test_every_action_about_the_battle_says_on_what_evidence_and_about_whom() -> None:
    about = [action for action in verdict(0.95) if action.subject == BATTLE]
    assert about
    for action in about:
        assert action.evidence == {"votes": 9, "voters": [str(VOTER)]}
        assert "burst_voting" in action.text


def test_nothing_follows_from_the_platforms_reasons_alone() -> None:
    assert decide(BATTLE, [], {VOTER: {"new_account": 0.7}}, LIMITS) == []


@given(st.floats(0.5, 0.89), st.floats(0, 1))
def test_the_platforms_reasons_add_doubt_and_stand_in_the_evidence(score: float, reason: float) -> None:
    (alone,) = [action for action in verdict(score) if action.action == "risk"]
    (backed,) = [action for action in verdict(score, {"new_account": reason}) if action.action == "risk"]
    assert alone.score <= backed.score <= 1
    assert backed.evidence == {"signals": ["burst_voting", "new_account"]}


def test_a_voter_in_several_signals_is_marked_once() -> None:
    signals = [Signal(type_, 0.8, {}, (VOTER,)) for type_ in ("burst_voting", "steady_drip")]
    actions = decide(BATTLE, signals, {}, LIMITS)
    (mark,) = [action for action in actions if action.action == "risk"]
    assert (mark.detail, round(mark.score, 2)) == ("excluded", 0.96)
    assert [action.detail for action in actions if action.action == "flag"] == ["burst_voting", "steady_drip"]
