"""Who takes part in a run."""

from __future__ import annotations

from app.database import Database
from app.platform.team_runs import TeamMember, TeamRun, requires_review
from app.teams import Member, Team


def everybody(run: TeamRun) -> list[Member]:
    """All members in their order; the run's own agent where there is no team."""
    return [_member(found) for found in run.members] or [run_agent(run)]


def gather_team(database: Database, run: TeamRun) -> Team:
    """The team of a shared task."""

    def is_gated(worker: Member) -> bool:
        return requires_review(database, run.team_run_id, worker.agent_id)

    return Team.gather(everybody(run), run_agent(run), is_gated)


def run_agent(run: TeamRun) -> Member:
    """The agent that the run belongs to, as somebody who works."""
    return Member(run.ai_lenser_id, run.display_name, persona=run.persona, model_key=run.model_key)


def _member(found: TeamMember) -> Member:
    return Member(
        agent_id=found.agent_id,
        name=found.display_name,
        role=found.role,
        lane=found.lane,
        order=found.sort_order,
        persona=found.persona,
        responsibility=found.responsibility,
        model_key=found.model_key,
        member_id=found.member_id,
    )
