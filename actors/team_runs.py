"""Team runs: one agent or several, on a workflow or on a task that they share."""

from __future__ import annotations

import structlog

from app import teamwork
from app.claims import Claim
from app.database import database
from app.platform.team_holds import TeamHold, block_team_run
from app.platform.team_runs import TeamRun, fail_team_run
from app.settings import settings
from app.work import work

log = structlog.get_logger(__name__)

#: Time for everything around the turns: earlier ones, keys, and waiting for the database.
AROUND_THE_TURNS_MS = 90_000


@work(
    "team_run",
    queue="team_runs",
    job=TeamRun,
    fail=fail_team_run,
    time_limit_ms=max(settings().team_run_timeout_ms, settings().workflow_timeout_ms) + AROUND_THE_TURNS_MS,
)
def execute_team_run(claim: Claim[TeamRun]) -> None:
    """Have a team do its workflow or its shared task; a turn that was finished is not taken again."""
    run = claim.job
    hold = TeamHold(message_id=claim.message_id, attempt=claim.attempt, team_run_id=run.team_run_id)
    execute = teamwork.execute_workflow if run.workflow_id else teamwork.discuss
    try:
        ending = execute(database(), run, hold, claim.hand)
    except teamwork.PersonAsked as need:
        asked, reason = need.asked, need.reason
        claim.finish(
            lambda tx: block_team_run(tx, run.team_run_id, asked=asked, reason=reason), outcome="blocked"
        )
        log.info("team run waits for its owner", teamRunId=str(run.team_run_id), reason=need.reason)
        return
    if ending is None:
        return
    claim.finish(lambda tx: ending.write(tx, run.team_run_id))
    log.info("team run ended", teamRunId=str(run.team_run_id), status=ending.status, members=len(run.members))
