"""Team runs as the platform keeps them: the claimed row with its members, and what members write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json
from pydantic import BaseModel, JsonValue

from app.database import Database
from app.errors import JobError
from app.platform.json_values import storable
from app.platform.rows import only_row
from app.teams import Role


class TeamMember(BaseModel):
    """An active member; `persona` is its note on how it speaks, `model_key` its own model if it has one."""

    member_id: UUID
    agent_id: UUID
    profile_id: UUID
    role: Role
    responsibility: str | None
    lane: int
    sort_order: int
    display_name: str
    persona: str | None
    model_key: str | None


class TeamRun(BaseModel):
    """A team run as worker.fn_running_team_run describes it; members are in their order.

    `ai_lenser_id` is the agent that the run belongs to, and that runs alone where there is no team. `inputs`
    are what the run was started with, `asked` the reviews about which a person has decided.
    """

    team_run_id: UUID
    ai_lenser_id: UUID
    profile_id: UUID
    display_name: str
    persona: str | None
    model_key: str | None
    owner_lenser_id: UUID | None
    team_id: UUID | None
    workflow_id: UUID | None
    workflow_run_id: UUID | None
    inputs: dict[str, JsonValue]
    asked: list[str]
    recursion_depth: int
    shared_scratchpad: dict[str, JsonValue]
    shared_scratchpad_version: int
    members: list[TeamMember]

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self.team_run_id

    @property
    def global_model_id(self) -> str | None:
        """The model of members that have none: that of the agent which the run belongs to."""
        return self.model_key


class TeamStep(BaseModel):
    """What a member is at; a step with the same node, lane, title and member is written again."""

    member_id: UUID | None
    node_id: UUID | None = None
    lane: int = 0
    title: str
    status: str
    summary: str | None = None
    blocker: str | None = None
    payload: dict[str, JsonValue] = {}


class TeamMessage(BaseModel):
    """A word of one agent to another, or to all when `to` is None.

    `kind` is task_request, task_response, info or error.
    """

    sender: UUID
    to: UUID | None = None
    kind: str
    payload: dict[str, JsonValue]
    parent_id: UUID | None = None


def save_step(tx: cursor, team_run_id: UUID, step: TeamStep) -> UUID:
    """Record what a member is at and return the step's id."""
    saved = _only(
        tx,
        "SELECT worker.save_team_step(%s, %s, %s, %s, %s, %s, %s, %s, %s) AS it",
        (
            team_run_id,
            step.member_id,
            step.node_id,
            step.lane,
            step.title,
            step.status,
            storable(step.summary),
            storable(step.blocker),
            Json(storable(step.payload)),
        ),
    )
    return UUID(str(saved))


def send_message(tx: cursor, team_run_id: UUID, message: TeamMessage) -> UUID:
    """Send a message and return its id; a run takes 1,000 and then refuses (54000)."""
    sent = _only(
        tx,
        "SELECT worker.send_team_message(%s, %s, %s, %s, %s, %s) AS it",
        (
            team_run_id,
            message.sender,
            message.to,
            message.kind,
            Json(storable(message.payload)),
            message.parent_id,
        ),
    )
    return UUID(str(sent))


def merge_scratchpad(tx: cursor, team_run_id: UUID, patch: Mapping[str, JsonValue], version: int) -> int:
    """Merge keys into the shared scratchpad and return its new version; a stale version raises 40001."""
    merged = _only(
        tx,
        "SELECT worker.merge_shared_scratchpad(%s, %s, %s) AS it",
        (team_run_id, Json(storable(dict(patch))), version),
    )
    return int(merged)


def append_event(tx: cursor, team_run_id: UUID, event_type: str, payload: Mapping[str, JsonValue]) -> None:
    """Add an event to the run's own timeline."""
    tx.execute(
        "SELECT worker.append_team_run_event(%s, %s, %s)",
        (team_run_id, event_type, Json(storable(dict(payload)))),
    )


def delegate(
    database: Database,
    agent_id: UUID,
    workflow_id: UUID,
    inputs: Mapping[str, JsonValue],
    *,
    policy: str = "auto",
    parent_id: UUID | None = None,
) -> UUID:
    """Start a team run of another agent and return its id.

    `policy` is auto, approval_required or forbidden (P0001); more than 8 runs below each other raise 54000.
    """
    given = {**inputs, **({"_parent_team_run_id": str(parent_id)} if parent_id else {})}
    rows = database.call(
        "SELECT fn_start_team_run(%s, %s, %s, %s) AS id",
        (agent_id, workflow_id, Json(storable(given)), policy),
    )
    return UUID(str(rows[0]["id"]))


def requires_review(database: Database, team_run_id: UUID, agent_id: UUID) -> bool:
    """Whether what this member does must be reviewed by another."""
    rows = database.call("SELECT worker.fn_step_requires_review(%s, %s) AS it", (team_run_id, agent_id))
    return bool(rows[0]["it"])


def finish_team_run(
    tx: cursor, team_run_id: UUID, status: str, *, result: JsonValue = None, error: str | None = None
) -> None:
    """End a team run that has not ended, with its result in the row's metadata.

    `status` is completed, failed or cancelled. Steps that are open end with it.
    """
    if result is not None:
        tx.execute("SELECT worker.fn_keep_team_result(%s, %s)", (team_run_id, Json(storable(result))))
    tx.execute("SELECT fn_worker_finalize_team_run(%s, %s, %s)", (team_run_id, status, storable(error)))


def fail_team_run(tx: cursor, team_run_id: UUID, error: JobError) -> None:
    """Fail a team run, and its workflow run with it."""
    tx.execute("SELECT worker.fail_team_run(%s, %s, %s)", (team_run_id, error.code, storable(error.message)))


def _only(tx: cursor, statement: str, parameters: tuple[Any, ...]) -> Any:
    tx.execute(statement, parameters)
    return only_row(tx)["it"]
