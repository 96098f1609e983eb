"""Members of a team, and what each is there for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from uuid import UUID


class Role(StrEnum):
    """What a member is in its team; the values of `agents.team_members.role`."""

    LEADER = "leader"
    EXECUTOR = "executor"
    REVIEWER = "reviewer"
    OBSERVER = "observer"
    OPERATOR = "operator"


_WORKERS = {Role.EXECUTOR, Role.OPERATOR}


@dataclass(frozen=True)
class Member:
    """An agent in its place; `member_id` is None for an agent that is in no team."""

    agent_id: UUID
    name: str
    role: Role = Role.EXECUTOR
    lane: int = 0
    order: int = 0
    persona: str | None = None
    responsibility: str | None = None
    model_key: str | None = None
    member_id: UUID | None = None


@dataclass(frozen=True)
class Team:
    """Who does what: each lane's workers go one after the other, lanes go at once.

    There is always a worker. Whoever reviews does no work; observers hear everything and say nothing.
    """

    lanes: tuple[tuple[Member, ...], ...]
    leader: Member | None = None
    reviewers: tuple[Member, ...] = ()

    @classmethod
    def gather(cls, members: Sequence[Member], alone: Member, is_gated: Callable[[Member], bool]) -> Team:
        """The team that these members make, given in their order.

        Without anybody to work the leader does, and without a leader `alone`, the agent that the run belongs
        to. Reviewers gate the team if the work of anybody in it must be reviewed.
        """
        leaders = [member for member in members if member.role is Role.LEADER]
        workers = [m for m in members if m.role in _WORKERS or m in leaders[1:]]
        if not workers:
            workers, leaders = leaders[:1] or [alone], []
        busy = {worker.agent_id for worker in workers}
        reviewers = [m for m in members if m.role is Role.REVIEWER and m.agent_id not in busy]
        return cls(
            lanes=_lanes(workers),
            leader=leaders[0] if leaders else None,
            reviewers=tuple(reviewers) if reviewers and any(map(is_gated, workers)) else (),
        )

    @property
    def workers(self) -> tuple[Member, ...]:
        """All who work, lane by lane."""
        return tuple(worker for lane in self.lanes for worker in lane)

    @property
    def concludes(self) -> bool:
        """Whether the leader makes one result of what several have done."""
        return self.leader is not None and len(self.workers) > 1


def _lanes(workers: Sequence[Member]) -> tuple[tuple[Member, ...], ...]:
    ordered = sorted(workers, key=lambda worker: (worker.lane, worker.order))
    return tuple(tuple(lane) for _, lane in groupby(ordered, key=lambda worker: worker.lane))
