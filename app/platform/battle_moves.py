"""Moving battles on, each in a transaction of its own, so that one that can't move holds up no other."""

from __future__ import annotations

from uuid import UUID

import psycopg2
import structlog

from app.database import Database
from app.errors import DatabaseAway
from app.outages import trouble_of_one

log = structlog.get_logger(__name__)


def promote_battles(database: Database) -> int:
    """Open the drafts that are to open by themselves, are ready, and whose time has come; says how many."""
    return _move_each(
        database, "SELECT id FROM worker.pending_promotions WHERE is_due", "worker.fn_battles_auto_promote"
    )


def nudge_battles(database: Database) -> int:
    """Open the voting of battles whose every job has ended without that; says of how many."""
    return _move_each(database, "SELECT id FROM worker.stuck_battles", "worker.fn_nudge_battle")


def close_battles(database: Database) -> int:
    """Close the battles whose voting has ended, the longest overdue first; says how many.

    The platform's own cycle, which looks at no more than fifty and is for the judged ones, comes after.
    """
    closed = _move_each(
        database, "SELECT id FROM worker.due_results ORDER BY voting_closes_at", "worker.fn_close_battle"
    )
    with database.transaction() as held:
        # The cycle leaves out locked battles, and so those whose votes are to be looked at by a person first.
        held.execute("SELECT worker.fn_lock_held_battles()")
        rows = database.call("SELECT fn_worker_run_finalize_cycle() AS battles")
    return closed + int(rows[0]["battles"])


def _move_each(database: Database, candidates: str, function: str) -> int:
    return sum(_move(database, function, row["id"]) for row in database.call(candidates))


def _move(database: Database, function: str, battle_id: UUID) -> bool:
    try:
        return bool(database.call(f"SELECT {function}(%s) AS moved", (battle_id,))[0]["moved"])
    except (psycopg2.Error, DatabaseAway) as error:
        reason = trouble_of_one(error)
        log.error("a battle can't be moved on", battleId=str(battle_id), by=function, reason=reason)
        return False
