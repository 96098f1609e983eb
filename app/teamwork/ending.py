"""How a team run ends, or is put down until a person has decided."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg2.extensions import cursor
from pydantic import JsonValue

from app.engine import Ending, RunStopped
from app.platform.team_holds import fetch_outputs
from app.platform.team_runs import finish_team_run
from app.platform.workflows import finish_run


@dataclass(frozen=True)
class TeamEnding:
    """The end of a team run: completed, failed or cancelled, with its result or a reason.

    `workflow` is the workflow run that ends with it, and how; None where there is none.
    """

    status: str
    result: dict[str, JsonValue] | None = None
    reason: str | None = None
    workflow: tuple[UUID, Ending] | None = None

    def write(self, tx: cursor, team_run_id: UUID) -> None:
        """End the rows, in the transaction that ends the claim."""
        result = self.result
        if self.workflow:
            run_id, ending = self.workflow
            result = {**ending.result, "outputs": fetch_outputs(tx, run_id)}
            finish_run(tx, run_id, ending.status, result=ending.result, events=ending.events)
        finish_team_run(tx, team_run_id, self.status, result=result, error=self.reason)


class PersonAsked(RunStopped):
    """A reviewer leaves the decision to the run's owner; `asked` names its turn."""

    def __init__(self, asked: str, reason: str) -> None:
        super().__init__(reason)
        self.asked = asked
        self.reason = reason
