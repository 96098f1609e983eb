"""Turns: a member's word at one point of a discussion."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from app.teams.members import Member


class TurnKind(StrEnum):
    """What a turn is for."""

    PLAN = "plan"
    WORK = "work"
    CONCLUSION = "conclusion"
    REVIEW = "review"


class TurnKey(NamedTuple):
    """By what a turn is found again among the steps of a run."""

    title: str
    agent_id: UUID


@dataclass(frozen=True)
class Turn:
    """One member's turn; rounds count from 1, and each is a new try at the whole work."""

    kind: TurnKind
    member: Member
    round: int = 1

    @property
    def title(self) -> str:
        """What the step is called."""
        name = self.kind.value.capitalize()
        return name if self.kind is TurnKind.PLAN else f"{name}, round {self.round}"

    @property
    def key(self) -> TurnKey:
        """By what the turn is known."""
        return TurnKey(self.title, self.member.agent_id)

    @property
    def call(self) -> str:
        """What stands for asking the member, in a run with one topic."""
        return f"{self.title} of {self.member.agent_id}"

    @property
    def note(self) -> str:
        """The turn's key on the shared scratchpad."""
        return f"{self.title}: {self.member.name}"
