"""Which member does which part of a workflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.teams.members import Member, Team


@dataclass(frozen=True)
class Part:
    """A node to be done; `model_key` is the model it names, `wanted` what it says of who should do it.

    `wanted` may be a member's or agent's id, a name or a role; one that nobody fits is as good as none.
    """

    node_id: str
    model_key: str | None = None
    wanted: str | None = None


def assign(parts: Sequence[Part], team: Team, everybody: Iterable[Member]) -> dict[str, Member]:
    """Give each part to a member, by node.

    Whoever a part asks for gets it. Others go to a worker whose own model is the one that the part names,
    else to any worker; among several to the one with the fewest so far, the first by lane and order. The
    same parts in the same order always go to the same members.
    """
    known = list(everybody)
    load: Counter[Member] = Counter()
    assigned = {}
    for part in parts:
        chosen = _asked_for(part, known) or min(_fitting(part, team), key=lambda member: load[member])
        load[chosen] += 1
        assigned[part.node_id] = chosen
    return assigned


def _asked_for(part: Part, members: Sequence[Member]) -> Member | None:
    wanted = (part.wanted or "").strip().lower()
    return next((member for member in members if wanted and wanted in _names(member)), None)


def _names(member: Member) -> set[str]:
    return {str(member.member_id), str(member.agent_id), member.name.lower(), member.role.value}


def _fitting(part: Part, team: Team) -> Sequence[Member]:
    """The workers that a part may go to, by lane and order."""
    alike = [worker for worker in team.workers if part.model_key and worker.model_key == part.model_key]
    return alike or team.workers
