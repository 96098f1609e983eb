"""What nodes delegate to agents: team runs, and the memories that an agent is asked about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from psycopg2.extras import Json
from pydantic import BaseModel, JsonValue

from app.database import Database
from app.errors import GiveUp
from app.platform.json_values import storable

_PROBLEMS = {
    "not_owned": "the agent doesn't belong to the workflow's owner",
    "too_deep": "too many team runs are below each other",
}


@dataclass(frozen=True)
class Delegation:
    """What an agent shall do for a node: a workflow, or else the task among the inputs."""

    agent_id: UUID
    workflow_id: UUID | None
    inputs: Mapping[str, JsonValue]
    policy: str


class DelegatedRun(BaseModel):
    """How a team run stands; `result` is there once it is completed."""

    status: str
    result: JsonValue = None
    error: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in ("completed", "failed", "cancelled")


def start_delegated_run(
    database: Database, run_id: UUID, node_id: UUID, owner_id: UUID | None, wanted: Delegation
) -> UUID:
    """Start the team run that a node delegates to, or find the one that it has started; gives its id.

    Raises `GiveUp` `delegation.not_owned` and `delegation.too_deep`.
    """
    rows = database.call(
        "SELECT * FROM worker.fn_delegate_from_node(%s, %s, %s, %s, %s, %s, %s)",
        (
            run_id,
            node_id,
            owner_id,
            wanted.agent_id,
            wanted.workflow_id,
            Json(storable(dict(wanted.inputs))),
            wanted.policy,
        ),
    )
    problem = rows[0]["problem"]
    if problem:
        raise GiveUp(f"delegation.{problem}", _PROBLEMS[problem])
    return UUID(str(rows[0]["team_run"]))


def fetch_delegated_run(database: Database, team_run_id: UUID) -> DelegatedRun | None:
    """How a team run stands, or None when it was deleted."""
    rows = database.call("SELECT * FROM worker.fn_delegated_run(%s)", (team_run_id,))
    return DelegatedRun.model_validate(rows[0]) if rows else None


class Memory(BaseModel):
    """Something that an agent remembers."""

    id: UUID
    content: str
    scope: str
    source: str


def fetch_memories(
    database: Database, agent_id: UUID, owner_id: UUID | None, most: int
) -> list[Memory] | None:
    """The newest memories of an agent that may be shown; None where the agent isn't that owner's."""
    owned = database.call("SELECT worker.fn_owns_agent(%s, %s) AS it", (owner_id, agent_id))
    if not owned[0]["it"]:
        return None
    rows = database.call("SELECT * FROM worker.fn_shown_memories(%s, %s)", (agent_id, most))
    return [Memory.model_validate(row) for row in rows]
