"""Runs of a shared task: started, claimed and done by hand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812

from app.claims import Claim
from app.database import Database
from app.local.teams import SeededTeam, enqueue_team_run
from app.platform.team_holds import TeamHold
from app.platform.team_runs import TeamRun
from app.teamwork import TeamEnding, discuss

TASK = {"task": "Praise the [[what]].", "what": "sea"}
REJECT, ACCEPT = "Too dull.\nVERDICT: REJECT, say more of the waves", "VERDICT: ACCEPT"


def start(connection: Connection, team: SeededTeam, **columns: Any) -> UUID:
    columns = {"inputs": TASK, **columns}
    return enqueue_team_run(connection, team.lead_id, team_id=team.team_id, **columns)


def hold_of(claimed: Claim[dict[str, Any]]) -> TeamHold:
    return TeamHold(message_id=claimed.message_id, attempt=claimed.attempt, team_run_id=claimed.job_id)


def do(database: Database, claimed: Claim[dict[str, Any]]) -> TeamEnding | None:
    return discuss(database, TeamRun.model_validate(claimed.job), hold_of(claimed), claimed.hand)
