"""Rows around votes that several tests begin with."""

from __future__ import annotations

from uuid import UUID

from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.seeds import seeded_id
from app.local.votes import open_vote
from tests.sql import call


def voting_battle(session: Connection, *, closes_in_hours: float = 24) -> UUID:
    """A battle being voted on, with its owner; cheaper than all seeds."""
    user, person = seeded_id("user", "ada"), seeded_id("person", "ada")
    call(
        session,
        "WITH u AS (INSERT INTO auth.users (id) VALUES (%s) ON CONFLICT DO NOTHING)"
        " INSERT INTO lensers.profiles (id, user_id, handle, display_name)"
        " VALUES (%s, %s, 'ada.lovelace', 'Ada')"
        " ON CONFLICT DO NOTHING RETURNING 1",
        user,
        person,
        user,
    )
    return open_vote(session, "Haiku", closes_in_hours=closes_in_hours)


def trigger_workflow(session: Connection, condition: str = "{}") -> UUID:
    """A workflow that changes of battles' status begin."""
    workflow: UUID = call(
        session,
        "INSERT INTO lenses.workflows (lenser_id, title, slug) VALUES (%s, 'On battles', 'on-battles')"
        " RETURNING id",
        seeded_id("person", "ada"),
    )
    call(
        session,
        "INSERT INTO lenses.workflow_triggers (workflow_id, owner_id, trigger_type, condition)"
        " VALUES (%s, %s, 'battle_event', %s) RETURNING id",
        workflow,
        seeded_id("user", "ada"),
        condition,
    )
    return workflow
