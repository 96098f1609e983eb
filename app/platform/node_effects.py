"""What nodes did to the world outside, written down so that a resumed run doesn't do it twice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from psycopg2.extensions import cursor
from psycopg2.extras import Json
from pydantic import JsonValue

from app.database import Database
from app.patience import retry_on_disconnect
from app.platform.json_values import storable
from app.platform.rows import only_row

_BEGIN = "SELECT * FROM worker.begin_node_effect(%s, %s, %s, %s)"
_KEEP = """
    UPDATE worker.node_effects SET sent_at = now(), receipt = %s
    WHERE run_id = %s AND node_id = %s AND effect = %s
"""


class Standing(StrEnum):
    """What is known of an effect that shall happen; the values of worker.begin_node_effect."""

    NEW = "new"
    SENT = "sent"
    UNKNOWN = "unknown"
    OVER_LIMIT = "over_limit"


@dataclass(frozen=True)
class Effect:
    """One thing that one node of one run does outside; `name` says what, such as `email`."""

    run_id: UUID
    node_id: UUID
    name: str

    @property
    def row(self) -> tuple[UUID, UUID, str]:
        """The key of its row."""
        return self.run_id, self.node_id, self.name


@dataclass(frozen=True)
class Begun:
    """How an effect stands, with the receipt of one that was sent before."""

    standing: Standing
    receipt: dict[str, JsonValue]


def begin(database: Database, effect: Effect, *, most_per_run: int | None = None) -> Begun:
    """Write down that an effect is about to be begun, unless it was begun before.

    `most_per_run` limits how many effects of this name a run may have.
    """
    return _read(database.call(_BEGIN, (*effect.row, most_per_run))[0])


def keep_receipt(database: Database, effect: Effect, receipt: dict[str, JsonValue]) -> None:
    """Write down that the other side has it; what the receipt holds is given again on resuming.

    Without it nobody knows whether the effect happened, so it is written through short outages.
    """
    retry_on_disconnect(lambda: database.call(_KEEP, (Json(storable(receipt)), *effect.row)))


def forget(database: Database, effect: Effect) -> None:
    """Take back that an effect was begun: the other side certainly has nothing."""
    database.call(
        "DELETE FROM worker.node_effects"
        " WHERE run_id = %s AND node_id = %s AND effect = %s AND sent_at IS NULL",
        effect.row,
    )


def begin_in(tx: cursor, effect: Effect) -> Begun:
    """Write down an effect that happens with the transaction's end, such as a row in a queue."""
    tx.execute(_BEGIN, (*effect.row, None))
    return _read(only_row(tx))


def keep_receipt_in(tx: cursor, effect: Effect, receipt: dict[str, JsonValue]) -> None:
    """Write down what came of it, in the same transaction."""
    tx.execute(_KEEP, (Json(storable(receipt)), *effect.row))


def _read(row: dict[str, object]) -> Begun:
    receipt = row["receipt"]
    return Begun(Standing(str(row["standing"])), receipt if isinstance(receipt, dict) else {})
