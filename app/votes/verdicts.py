"""What is done about signals: who is flagged, which votes are marked, whether the battle is held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from app.votes.thresholds import Thresholds
from app.votes.vote import Signal

Kind = Literal["flag", "risk", "decision", "notify", "hold"]


@dataclass(frozen=True)
class Action:
    """One thing to do, as worker.fn_take_vote_actions reads it.

    `subject` is the voter's profile, or the battle; `detail` the type of the signal, or the risk status.
    """

    action: Kind
    subject: UUID
    detail: str
    score: float
    evidence: Mapping[str, Any]
    text: str = ""


@dataclass
class _Doubt:
    """What speaks against one voter's vote."""

    score: float = 0.0
    signals: set[str] = field(default_factory=set)


def decide(
    battle_id: UUID,
    signals: Sequence[Signal],
    platform_reasons: Mapping[UUID, Mapping[str, float]],
    limits: Thresholds,
) -> list[Action]:
    """The actions that follow from signals, flags first and holds last.

    `platform_reasons` are the platform's own scores by voter and reason. They make a doubted vote more
    doubtful and stand in its evidence; alone they lead to nothing, because many honest voters are new too.
    """
    doubts: dict[UUID, _Doubt] = defaultdict(_Doubt)
    actions: list[Action] = []
    for signal in signals:
        for voter in signal.voters:
            actions.append(Action("flag", voter, signal.type, signal.score, signal.evidence))
            _add(doubts[voter], signal.type, signal.score)
    for voter, doubt in doubts.items():
        for reason, score in platform_reasons.get(voter, {}).items():
            _add(doubt, reason, score * limits.platform_weight * doubt.score)
        actions.append(_mark(voter, doubt, limits))
    for signal in signals:
        actions.extend(_about_battle(battle_id, signal, limits))
    return actions


def _add(doubt: _Doubt, signal: str, score: float) -> None:
    """Independent reasons add up: what is left of trust is multiplied."""
    doubt.score = 1 - (1 - doubt.score) * (1 - min(score, 1.0))
    doubt.signals.add(signal)


def _mark(voter: UUID, doubt: _Doubt, limits: Thresholds) -> Action:
    status = "excluded" if doubt.score >= limits.hold_score else "flagged"
    return Action("risk", voter, status, doubt.score, {"signals": sorted(doubt.signals)})


def _about_battle(battle_id: UUID, signal: Signal, limits: Thresholds) -> list[Action]:
    kinds: list[Kind] = []
    if signal.score >= limits.decision_score:
        kinds += ["decision", "notify"]
    if signal.score >= limits.hold_score:
        kinds.append("hold")
    evidence = {**signal.evidence, "voters": [str(voter) for voter in signal.voters]}
    text = f"{signal.type}: {len(signal.voters)} votes, score {signal.score:.2f}"
    return [Action(kind, battle_id, signal.type, signal.score, evidence, text) for kind in kinds]
