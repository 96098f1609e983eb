"""Battles of a workflow's owner, as its nodes see and move them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg2
from psycopg2.extras import Json
from pydantic import BaseModel, JsonValue

from app.database import Database
from app.errors import GiveUp
from app.platform.json_values import storable
from app.platform.node_effects import Effect, Standing, begin_in, keep_receipt_in
from app.platform.rows import only_row
from app.workflow.values import JsonObject

#: How worker's functions say what can't be done: a code, a colon, and words for people.
_TOLD = "LFNOD"

_NO_WINNER = "current_round_has_no_winner"


class Criterion(BaseModel):
    """What a battle is judged by."""

    id: UUID
    title: str
    description: str | None
    weight: float


class Entry(BaseModel):
    """What a contender has handed in; `media` is a URL."""

    id: UUID
    slot: str
    text: str | None
    media: str | None


class JudgedBattle(BaseModel):
    """A battle that waits for its judge, or has been judged."""

    task: str
    guidance: str | None
    model_key: str | None
    criteria: list[Criterion]
    contenders: list[Entry]
    verdicts: list[dict[str, JsonValue]]


class NoWinnerYet(GiveUp):
    """The current round of a series has no winner."""


def count_votes(database: Database, battle_id: UUID) -> dict[str, int]:
    """The votes of a battle by slot, which everybody may see."""
    with _told():
        rows = database.call("SELECT slot, vote_count FROM fn_get_battle_scores(%s)", (battle_id,))
    return {row["slot"]: int(row["vote_count"]) for row in rows}


def finalize(database: Database, run_id: UUID, battle_id: UUID) -> JsonObject:
    """Close a battle whose voting has ended; a closed one stays as it is. Raises GiveUp `battle.…`."""
    return _call(database, "SELECT worker.finalize_own_battle(%s, %s) AS it", run_id, battle_id)


def rate(database: Database, run_id: UUID, battle_id: UUID) -> JsonObject:
    """Rate the contenders of a closed battle, once. Raises GiveUp `battle.…`."""
    return _call(database, "SELECT worker.rate_own_battle(%s, %s) AS it", run_id, battle_id)


def fetch_for_judge(database: Database, run_id: UUID, battle_id: UUID) -> JudgedBattle:
    """What a judge must know. Raises GiveUp `battle.…` for a battle that is not to be judged now."""
    found = _call(database, "SELECT worker.own_battle_for_judge(%s, %s) AS it", run_id, battle_id)
    return JudgedBattle.model_validate(found)


def record_verdicts(
    database: Database, run_id: UUID, battle_id: UUID, verdicts: Sequence[JsonObject]
) -> JsonObject:
    """Count verdicts, unless some have been counted: then those stand. Raises GiveUp `battle.…`."""
    statement = "SELECT worker.judge_own_battle(%s, %s, %s) AS it"
    return _call(database, statement, run_id, battle_id, Json(storable(list(verdicts))))


def create(database: Database, effect: Effect, battle: JsonObject) -> JsonObject:
    """Write a draft, once for an effect. Raises GiveUp `battle.…`."""
    statement = "SELECT worker.create_own_battle(%s, %s) AS it"
    return _do_once(database, effect, statement, effect.run_id, Json(storable(battle)))


def advance_series(database: Database, effect: Effect, series_id: UUID) -> JsonObject:
    """Go on to the next round, once for an effect. Raises `NoWinnerYet`, or GiveUp `battle.…`."""
    return _do_once(
        database, effect, "SELECT worker.advance_own_series(%s, %s) AS it", effect.run_id, series_id
    )


def _call(database: Database, statement: str, *parameters: Any) -> JsonObject:
    with _told():
        done: JsonObject = database.call(statement, parameters)[0]["it"]
    return done


def _do_once(database: Database, effect: Effect, statement: str, *parameters: Any) -> JsonObject:
    """What happens in one transaction with the note that it has; for a resumed run that note is all."""
    with _told(), database.transaction() as tx:
        begun = begin_in(tx, effect)
        if begun.standing is not Standing.NEW:
            return begun.receipt
        tx.execute(statement, parameters)
        done: JsonObject = only_row(tx)["it"]
        keep_receipt_in(tx, effect, done)
        return done


@contextmanager
def _told() -> Iterator[None]:
    """Tell what the database refuses in the words of a job."""
    try:
        yield
    except psycopg2.Error as error:
        said = (error.diag.message_primary or type(error).__name__).strip()[:300]
        if error.pgcode == _TOLD:
            code, _, reason = said.partition(": ")
            raise GiveUp(code, reason) from None
        if _NO_WINNER in said:
            raise NoWinnerYet("series.no_winner", "the current round has no winner yet") from None
        raise GiveUp("battle.refused", said) from None
