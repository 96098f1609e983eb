"""Battles on a reference platform: agents with a persona, and battles that are ready to start.

For the demo, the dev command, the benchmarks and the tests; never for a real platform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor
from psycopg2.extras import Json, register_uuid
from psycopg2.sql import SQL, Identifier, Placeholder

from app.local.seeds import seeded_id

register_uuid()

#: The columns of a battle that starts when `start_battles` is called, where the caller doesn't say otherwise.
_READY = {
    "creator_lenser_id": seeded_id("person", "ada"),
    "title": "A battle",
    "battle_type": "ai_vs_ai",
    "status": "open",
    "execution_starts_at": "now",
}


@dataclass(frozen=True)
class Contender:
    """An AI contender: its model, and all that may be said about how it answers.

    `provider` is the model's own where it is None. A `persona` makes it an agent of the battle's creator.
    `lens` is the name of a seed; without `version` it answers with the newest one.
    """

    model: str
    provider: str | None = None
    persona: str | None = None
    lens: str | None = None
    version: UUID | None = None
    inputs: Mapping[str, Any] | None = None
    byok_key_id: UUID | None = None
    funding_source: str = "platform_credit"
    max_tokens: int = 4096
    temperature: float = 0.7


def enqueue_battle(session: connection, *contenders: Contender, task_prompt: str, **columns: Any) -> UUID:
    """Queue the jobs of one battle and return its id; for the arguments see `enqueue_battles`."""
    (battle,) = enqueue_battles(session, 1, *contenders, task_prompt=task_prompt, **columns)
    return battle


def enqueue_battles(
    session: connection, count: int, *contenders: Contender, task_prompt: str, **columns: Any
) -> list[UUID]:
    """Make equal battles, start them the way the platform's cron does, and return their ids.

    `columns` are further columns of battles.battles. Drafts, and battles that start later, stay as they are.
    """
    battles = make_battles(session, count, *contenders, task_prompt=task_prompt, **columns)
    start_battles(session)
    return battles


def make_battles(
    session: connection, count: int, *contenders: Contender, task_prompt: str, **columns: Any
) -> list[UUID]:
    """Make equal battles of these contenders, in slots A, B and so on, without starting them."""
    with _whole(session), session.cursor() as tx:
        battles = _insert_battles(tx, count, {**_READY, "task_prompt": task_prompt, **columns})
        for slot, contender in zip("ABCDEF", contenders, strict=False):
            _insert_contenders(tx, battles, slot, contender)
    return battles


def start_battles(session: connection) -> int:
    """Start every battle that is due, as the platform's cron does each minute; returns how many."""
    with session.cursor() as tx:
        tx.execute("SELECT battles.fn_auto_start_battles()")
        row: tuple[int] | None = tx.fetchone()
    assert row is not None, "a function returns a row"
    return row[0]


def ensure_agent(tx: cursor, persona: str) -> UUID:
    """The profile of the agent, owned by a seeded person, whose note that is; made if it is missing."""
    profile = seeded_id("agent", persona)
    tx.execute(
        """
        INSERT INTO lensers.profiles (id, handle, display_name, type, user_id)
        VALUES (%(profile)s, 'agent.' || left(%(profile)s::text, 8), 'Agent', 'ai', NULL)
        ON CONFLICT DO NOTHING;
        INSERT INTO agents.ai_lensers (id, profile_id, personality_note)
        VALUES (%(profile)s, %(profile)s, %(persona)s) ON CONFLICT DO NOTHING;
        INSERT INTO agents.ownerships (id, ai_lenser_id, owner_lenser_id)
        VALUES (%(profile)s, %(profile)s, %(owner)s) ON CONFLICT DO NOTHING;
        """,
        {"profile": profile, "persona": persona, "owner": seeded_id("person", "ada")},
    )
    return profile


@contextmanager
def _whole(session: connection) -> Iterator[None]:
    """One transaction for several statements: no sweep may start a battle that lacks a contender."""
    if session.autocommit and session.get_transaction_status() == TRANSACTION_STATUS_IDLE:
        with session:
            yield
    else:
        yield


def _insert_battles(tx: cursor, count: int, columns: Mapping[str, Any]) -> list[UUID]:
    values = {name: Json(value) if isinstance(value, dict) else value for name, value in columns.items()}
    tx.execute(
        SQL(
            """
            INSERT INTO battles.battles (slug, {names})
            SELECT gen_random_uuid()::text, {values}
            FROM generate_series(1, %(count)s)
            RETURNING id
            """
        ).format(
            names=SQL(", ").join(map(Identifier, values)),
            values=SQL(", ").join(map(Placeholder, values)),
        ),
        {**values, "count": count},
    )
    return [battle for (battle,) in tx.fetchall()]


def _insert_contenders(tx: cursor, battles: Sequence[UUID], slot: str, contender: Contender) -> None:
    reference = (
        ensure_agent(tx, contender.persona)
        if contender.persona
        else seeded_id("contender", f"{contender.model}/{slot}")
    )
    tx.execute(
        """
        WITH made AS (
            INSERT INTO battles.contenders (battle_id, slot, contender_type, contender_ref_id, display_name)
            SELECT battle, %(slot)s, %(type)s, %(reference)s, %(model)s FROM unnest(%(battles)s) AS battle
            RETURNING id, battle_id
        ), configured AS (
            INSERT INTO battles.execution_configs (
                battle_id, contender_id, provider_key, model_key, funding_source, byok_key_ref_id, max_tokens,
                temperature)
            SELECT battle_id, id, coalesce(%(provider)s, (
                       SELECT p.key FROM ai.models m JOIN ai.providers p ON p.id = m.provider_id
                       WHERE m.key = %(model)s), ''),
                   %(model)s, %(funding_source)s, %(byok_key)s, %(max_tokens)s, %(temperature)s
            FROM made
        )
        INSERT INTO battles.contender_lens_assignments (
            battle_id, contender_id, lens_id, version_id, input_snapshot)
        SELECT battle_id, id, %(lens)s, %(version)s, %(inputs)s FROM made WHERE %(lens)s::uuid IS NOT NULL
        """,
        {
            "battles": list(battles),
            "slot": slot,
            "type": "ai_agent" if contender.persona else "ai_model",
            "reference": reference,
            "model": contender.model,
            "provider": contender.provider,
            "funding_source": contender.funding_source,
            "byok_key": contender.byok_key_id,
            "max_tokens": contender.max_tokens,
            "temperature": contender.temperature,
            "lens": seeded_id("lens", contender.lens) if contender.lens else None,
            "version": contender.version,
            "inputs": Json(dict(contender.inputs or {})),
        },
    )
