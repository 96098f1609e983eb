"""In whose rights a workflow run acts."""

from __future__ import annotations

from uuid import UUID

from app.database import Database
from app.errors import GiveUp
from app.platform.workflows import WorkflowRun


def owner_of(database: Database, run: WorkflowRun) -> UUID:
    """The workflow's owner, in whose rights its nodes act.

    Raises GiveUp `run.no_rights` for a run that somebody else has started: its inputs would steer what
    belongs to the owner.
    """
    owner: UUID | None = database.call("SELECT worker.fn_run_owner(%s) AS owner", (run.run_id,))[0]["owner"]
    if owner is None:
        raise GiveUp("run.no_rights", "the run was started by somebody else than the workflow's owner")
    return owner
