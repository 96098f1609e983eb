"""Votes as the platform keeps them: reading a battle's newest ones, and writing down what was found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg2.extras import Json
from pydantic import BaseModel

from app.database import Database
from app.votes import Action, Vote

#: Votes that one inspection looks at, the newest; a battle's usual pace is told from these too.
WINDOW_VOTES = 5_000


class _VoteRow(BaseModel):
    """A row of worker.fn_votes_to_inspect."""

    vote_id: UUID
    voter_id: UUID
    choice: str
    cast_at: datetime
    account_created_at: datetime
    is_unknown: bool
    address: str | None


class _PlatformReason(BaseModel):
    """An element of fn_detect_suspicious_voting."""

    voter_id: UUID
    reason: str
    score: float


@dataclass(frozen=True)
class Window:
    """A battle's votes as they stood at `read_at`; transactions below `seen_below` are all in it."""

    battle_id: UUID
    read_at: datetime
    seen_below: int
    total: int
    votes: Sequence[Vote]


def read_window(database: Database, battle_id: UUID) -> Window:
    """Read the newest votes of a battle that people cast, oldest first."""
    # Asked before the votes are: what was settled then is in what is read next.
    mark = database.call("SELECT clock_timestamp() AS read_at, worker.fn_settled_below() AS seen_below")[0]
    rows = database.call("SELECT * FROM worker.fn_votes_to_inspect(%s, %s)", (battle_id, WINDOW_VOTES))
    total = database.call("SELECT worker.fn_count_votes(%s) AS votes", (battle_id,))
    votes = [_vote(_VoteRow.model_validate(row)) for row in rows]
    return Window(battle_id, mark["read_at"], mark["seen_below"], total[0]["votes"], votes)


def platform_reasons(database: Database, battle_id: UUID) -> Mapping[UUID, Mapping[str, float]]:
    """What the platform's own scan says, by voter and reason."""
    found: dict[UUID, dict[str, float]] = defaultdict(dict)
    for row in database.call("SELECT fn_detect_suspicious_voting(%s) AS found", (battle_id,)):
        reason = _PlatformReason.model_validate(row["found"])
        found[reason.voter_id][reason.reason] = reason.score
    return found


def finish_inspection(database: Database, window: Window, actions: Sequence[Action]) -> list[dict[str, Any]]:
    """Take the actions that were not taken yet and mark the votes as seen, in one transaction.

    Returns the rows of worker.vote_actions that are new. Inspections of one battle wait for each other here.
    """
    with database.transaction() as tx:
        tx.execute(
            "SELECT worker.fn_finish_inspection(%s, %s, %s, %s)",
            (window.battle_id, window.read_at, window.seen_below, window.total),
        )
        described = [asdict(action) | {"subject": str(action.subject)} for action in actions]
        tx.execute("SELECT * FROM worker.fn_take_vote_actions(%s, %s)", (window.battle_id, Json(described)))
        return [dict(row) for row in tx.fetchall()]


def _vote(row: _VoteRow) -> Vote:
    return Vote(
        vote_id=row.vote_id,
        voter_id=row.voter_id,
        choice=row.choice,
        cast_at=row.cast_at.timestamp(),
        account_age_seconds=max((row.cast_at - row.account_created_at).total_seconds(), 0.0),
        is_unknown=row.is_unknown,
        address=row.address,
    )
