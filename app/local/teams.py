"""Agents, teams and team runs on a reference platform.

For the demo, the dev command, the benchmarks and the tests; never for a real platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from psycopg2.extensions import connection

from app.local.rows import as_json, insert
from app.local.seeds import seeded_id


def make_agent(
    session: connection,
    name: str,
    *,
    persona: str | None = None,
    model: str | None = None,
    owner: str = "ada",
) -> UUID:
    """An agent of a seeded person, with a profile of its own; `model` is the key of a model that is there."""
    with session.cursor() as tx:
        tx.execute("SELECT id FROM ai.models WHERE key = %s", (model,))
        found: tuple[UUID] | None = tx.fetchone()
        profile = insert(
            tx,
            "lensers.profiles",
            user_id=None,
            handle=f"agent.{uuid4().hex[:16]}",
            display_name=name,
            type="ai",
            ai_model_id=found[0] if found else None,
        )
        agent = insert(
            tx, "agents.ai_lensers", profile_id=profile, display_name=name, personality_note=persona
        )
        insert(tx, "agents.ownerships", ai_lenser_id=agent, owner_lenser_id=seeded_id("person", owner))
    return agent


@dataclass(frozen=True)
class MemberSeed:
    """A member to be: its agent's name and persona, and its place in the team."""

    name: str
    role: str = "executor"
    lane: int = 0
    persona: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class SeededTeam:
    """A team's id, and its agents by name; the first is the one it belongs to."""

    team_id: UUID
    agents: Mapping[str, UUID]

    @property
    def lead_id(self) -> UUID:
        """The agent that the team belongs to."""
        return next(iter(self.agents.values()))


TEAM_OF_THREE = (
    MemberSeed("Lena", "leader", persona="You lead: say what is to be done, in one sentence."),
    MemberSeed("Emil", "executor", persona="You do the work."),
    MemberSeed("Rosa", "reviewer", persona="You review the work, and say what is wrong with it."),
)


def make_team(session: connection, members: Sequence[MemberSeed] = TEAM_OF_THREE) -> SeededTeam:
    """A team of new agents, in that order; the leader's, an executor's and a reviewer's unless given."""
    agents = {
        member.name: make_agent(session, member.name, persona=member.persona, model=member.model)
        for member in members
    }
    with session.cursor() as tx:
        team = insert(
            tx, "agents.teams", ai_lenser_id=next(iter(agents.values())), name=f"Team {members[0].name}"
        )
        for order, member in enumerate(members):
            insert(
                tx,
                "agents.team_members",
                team_id=team,
                agent_id=agents[member.name],
                role=member.role,
                lane=member.lane,
                sort_order=order,
            )
    return SeededTeam(team, agents)


def enqueue_team_run(
    session: connection,
    ai_lenser_id: UUID,
    *,
    workflow_id: UUID | None = None,
    team_id: UUID | None = None,
    inputs: Mapping[str, Any] | None = None,
    **columns: Any,
) -> UUID:
    """A team run that waits for a worker and needs no approval, unless `columns` say otherwise."""
    columns = {
        "status": "queued",
        "approval_status": "not_required",
        "metadata": {"inputs": dict(inputs or {})},
        **columns,
    }
    with session.cursor() as tx:
        return insert(
            tx,
            "agents.team_runs",
            ai_lenser_id=ai_lenser_id,
            workflow_id=workflow_id,
            team_id=team_id,
            **as_json(columns),
        )
