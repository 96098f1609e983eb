"""A team's workflow: the engine executes it, and members speak in its lens nodes."""

from __future__ import annotations

from app import engine
from app.answers import Hand
from app.database import Database
from app.errors import PutBack
from app.platform.team_holds import TeamHold, fetch_workflow_status, take_up_workflow_run
from app.platform.team_runs import TeamRun
from app.teamwork.ending import TeamEnding
from app.teamwork.models import TeamModels

#: A run that another worker is at is looked after again this much later.
TAKEN_PAUSE_SECONDS = 30.0

#: What a team run ends as, by the end of its workflow run.
_ENDS = {"completed": "completed", "cancelled": "cancelled", "failed": "failed", "timed_out": "failed"}


def execute_workflow(database: Database, run: TeamRun, hold: TeamHold, hand: Hand) -> TeamEnding | None:
    """Bring a team's workflow run to its end; None if somebody else ended it.

    Raises what `engine.execute` raises, `GiveUp` when a node failed, `PersonAsked` when the owner must
    decide, and `PutBack` while another worker is at the workflow run.
    """
    workflow_run = take_up_workflow_run(database, hold)
    if workflow_run is None:
        return _follow(database, run)
    models = TeamModels(database, run, hold, hand, workflow_run)
    run_hold = hold.of_workflow_run(workflow_run.run_id)
    ending = engine.execute(database, workflow_run, run_hold, hand, models=models)
    if ending is None:
        return None
    ending.raise_if_failed()
    return TeamEnding(_ENDS[ending.status], reason=ending.reason, workflow=(workflow_run.run_id, ending))


def _follow(database: Database, run: TeamRun) -> TeamEnding:
    """End as a workflow run did that somebody else brought to its end, or wait until they have."""
    status = fetch_workflow_status(database, run.team_run_id)
    if status not in _ENDS:
        reason = "another worker is at the workflow run"
        raise PutBack("team.workflow_taken", reason, after_seconds=TAKEN_PAUSE_SECONDS)
    told = None if status == "completed" else f"the workflow run ended as {status}"
    return TeamEnding(_ENDS[status], reason=told)
