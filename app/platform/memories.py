"""What agents remember for good, as workflows write and read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import psycopg2
from pydantic import BaseModel

from app.database import Database
from app.errors import GiveUp


class Memory(BaseModel):
    """One thing remembered; `confidence` is 0 to 1, `key` None where it was not written under one."""

    key: str | None
    content: str
    scope: str
    source: str
    confidence: float
    created_at: datetime


class NewMemory(BaseModel):
    """Something to remember; without `ttl_ms` for good."""

    key: str
    content: str
    scope: str
    source: str
    confidence: float
    ttl_ms: int | None


def find_agent(database: Database, run_id: UUID, named: UUID | None) -> UUID:
    """The agent whose memories a run may use: the named one, else the run's own.

    Raises GiveUp `memory.no_agent` unless it is one of the workflow's owner.
    """
    rows = database.call("SELECT worker.fn_remembering_agent(%s, %s) AS agent", (run_id, named))
    agent: UUID | None = rows[0]["agent"]
    if agent is None:
        reason = "is not one of the workflow owner's" if named else "is missing: name one with 'lenserId'"
        raise GiveUp("memory.no_agent", f"the agent that is to remember {reason}")
    return agent


def write_memory(database: Database, agent: UUID, memory: NewMemory) -> UUID:
    """Have an agent remember something, in the place of what it remembered under the same key.

    Raises GiveUp with a `memory.…` code.
    """
    parameters = (
        agent,
        memory.key,
        memory.content,
        memory.scope,
        memory.source,
        Decimal(str(memory.confidence)),
        memory.ttl_ms,
    )
    try:
        rows = database.call("SELECT worker.write_memory(%s, %s, %s, %s, %s, %s, %s) AS id", parameters)
    except psycopg2.errors.CheckViolation as error:
        constraint = error.diag.constraint_name
        raise GiveUp("memory.refused", f"the platform does not take the memory ({constraint})") from None
    written: UUID | None = rows[0]["id"]
    if written is None:
        raise GiveUp("memory.no_profile", "the agent has no memory profile to keep it in")
    return written


def search_memories(
    database: Database, agent: UUID, *, key: str | None, about: str | None, most: int
) -> Sequence[Memory]:
    """What an agent remembers under a key, or about a text, or at all; the best first."""
    rows = database.call("SELECT * FROM worker.search_memories(%s, %s, %s, %s)", (agent, key, about, most))
    return [Memory.model_validate(row) for row in rows]
