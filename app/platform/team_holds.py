"""One attempt's hold on a team run: what it writes is refused once the run is not its own any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import psycopg2
from psycopg2.extensions import cursor
from pydantic import BaseModel, Field, JsonValue

from app.calls import Call, call_parameters
from app.database import Database
from app.errors import GiveUp
from app.platform.json_values import storable
from app.platform.rows import only_row
from app.platform.workflows import RunHold, RunLost, Verdict, WorkflowRun

#: What worker.send_team_message and worker.merge_shared_scratchpad refuse with 54000, for people.
_LIMITS = {
    "team_messages_cap_exceeded": ("team.too_many_messages", "a run takes 1,000 messages"),
    "team_scratchpad_cap_exceeded": ("team.scratchpad_full", "the shared scratchpad takes 256 KiB"),
}


class TeamHold(BaseModel):
    """The claim of a team run; `message_id` and `attempt` are the claim's own."""

    message_id: UUID
    attempt: int = Field(ge=1)
    team_run_id: UUID

    @property
    def run_id(self) -> UUID:
        """The run that the hold is of."""
        return self.team_run_id

    def beat(self, database: Database) -> Verdict:
        """Say that the run is being worked on, and learn whether it still should be."""
        rows = database.call(
            "SELECT worker.heartbeat_team_run(%s, %s, %s) AS verdict",
            (self.message_id, self.attempt, self.team_run_id),
        )
        return Verdict(rows[0]["verdict"])

    @contextmanager
    def writing(self, database: Database) -> Iterator[cursor]:
        """One transaction that writes to the run, which it locks; raises `RunLost` if it isn't ours.

        Raises `GiveUp` where the platform's limits on messages or the scratchpad are met.
        """
        try:
            with database.transaction() as tx:
                tx.execute(
                    "SELECT worker.fn_team_verdict(%s, %s, %s) AS verdict",
                    (self.message_id, self.attempt, self.team_run_id),
                )
                verdict = Verdict(only_row(tx)["verdict"])
                if verdict is not Verdict.OURS:
                    raise RunLost(verdict)
                yield tx
        except psycopg2.errors.ProgramLimitExceeded as error:
            met = (error.diag.message_primary or "").partition(":")[0]
            if met not in _LIMITS:
                raise
            raise GiveUp(*_LIMITS[met]) from None

    def note_calls(self, tx: cursor, calls: Sequence[Call]) -> None:
        """Write down calls to providers, in somebody's transaction."""
        tx.execute("SELECT worker.note_calls(%s, %s)", (self.message_id, call_parameters(calls)))

    def note_late_calls(self, database: Database, calls: Sequence[Call]) -> None:
        """Write down calls to providers, whoever has the run by now: they were paid for."""
        with database.transaction() as tx:
            self.note_calls(tx, calls)

    def of_workflow_run(self, run_id: UUID) -> RunHold:
        """The same hold, on the workflow run that belongs to the team run."""
        return RunHold(message_id=self.message_id, attempt=self.attempt, run_id=run_id)

    def close_ended(self, database: Database) -> bool:
        """Tidy up after a run that somebody else ended; False when the hold itself was lost."""
        rows = database.call(
            "SELECT worker.close_ended_team_run(%s, %s, %s) AS closed",
            (self.message_id, self.attempt, self.team_run_id),
        )
        return bool(rows[0]["closed"])


def take_up_workflow_run(database: Database, hold: TeamHold) -> WorkflowRun | None:
    """The workflow run that belongs to a team run, made if need be; None if it has ended or is another's."""
    with hold.writing(database) as tx:
        tx.execute(
            """
            SELECT worker.fn_running_workflow_run(taken.run_id) AS run
            FROM fn_worker_create_team_run_workflow_run(%s, '') AS taken
            """,
            (hold.team_run_id,),
        )
        found = [dict(row)["run"] for row in tx.fetchall()]
    return WorkflowRun.model_validate(found[0]) if found and found[0] else None


def fetch_workflow_status(database: Database, team_run_id: UUID) -> str:
    """The status of the workflow run that belongs to a team run."""
    rows = database.call("SELECT * FROM worker.fn_team_workflow_status(%s)", (team_run_id,))
    if not rows:
        raise GiveUp("team.workflow_gone", "the workflow of the run was deleted")
    return str(rows[0]["status"])


def fetch_outputs(tx: cursor, run_id: UUID) -> dict[str, JsonValue]:
    """What the last nodes of a workflow run gave, by their names; none once the run has ended."""
    tx.execute("SELECT worker.fn_run_outputs(%s) AS outputs", (run_id,))
    found: dict[str, JsonValue] = only_row(tx)["outputs"]
    return found


def block_team_run(tx: cursor, team_run_id: UUID, *, asked: str, reason: str) -> None:
    """Have the owner decide before the run goes on; `asked` is the review that leaves it to them."""
    tx.execute("SELECT worker.block_team_run(%s, %s, %s)", (team_run_id, asked, storable(reason)))


def fetch_spoken(database: Database, team_run_id: UUID) -> list[dict[str, JsonValue]]:
    """What was said in a run's finished turns, in that order."""
    rows = database.call("SELECT * FROM worker.fn_spoken_turns(%s)", (team_run_id,))
    return [row["spoken"] for row in rows]


def current_scratchpad_version(tx: cursor, team_run_id: UUID) -> int:
    """The version that a write in this transaction is based on; the run is locked by `TeamHold.writing`."""
    tx.execute("SELECT worker.fn_scratchpad_version(%s) AS it", (team_run_id,))
    return int(only_row(tx)["it"])
