"""Battles in their voting and people who vote in them, for the demo and the tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from psycopg2.extensions import connection
from psycopg2.extras import execute_values, register_uuid

from app.local.seeds import seeded_id

register_uuid()


@dataclass(frozen=True)
class Ballot:
    """One person's vote, to be cast so many seconds before now.

    `known` says that the person has voted in another battle before.
    """

    choice: str = "contender_a"
    cast_seconds_ago: float = 0.0
    account_age_seconds: float = 90 * 86_400.0
    known: bool = True
    address: str | None = None


def open_vote(session: connection, title: str, *, owner: str = "ada", closes_in_hours: float = 24) -> UUID:
    """A battle between two people's answers that is being voted on; returns its id."""
    battle = uuid4()
    with session.cursor() as tx:
        tx.execute(
            """
            WITH battle AS (
                INSERT INTO battles.battles (id, creator_lenser_id, title, slug, task_prompt, status,
                                             voting_opens_at, voting_closes_at)
                VALUES (%(id)s, %(owner)s, %(title)s, %(id)s::text, 'Write a haiku.', 'voting', now(),
                        now() + %(hours)s * interval '1 hour')
                RETURNING id
            )
            INSERT INTO battles.contenders (battle_id, slot, contender_type, contender_ref_id, display_name)
            SELECT battle.id, slot, 'ai_model', gen_random_uuid(), 'Contender ' || slot
            FROM battle, unnest(ARRAY['A', 'B']) AS slot
            """,
            {"id": battle, "owner": seeded_id("person", owner), "title": title, "hours": closes_in_hours},
        )
    return battle


def cast(session: connection, battle: UUID, ballots: Sequence[Ballot]) -> list[UUID]:
    """Make a person for each ballot and cast all of them in one statement; returns the voters."""
    voters = [uuid4() for _ in ballots]
    _make_voters(session, voters, ballots)
    known = [voter for voter, ballot in zip(voters, ballots, strict=True) if ballot.known]
    if known:
        _insert_votes(session, open_vote(session, "an earlier battle"), known, _earlier_ballots(len(known)))
    _insert_votes(session, battle, voters, ballots)
    return voters


def _earlier_ballots(count: int) -> list[Ballot]:
    """Ballots of a past month, at times that give nobody a reason to doubt them."""
    dice = random.Random(count)  # noqa: S311 - made-up votes
    return [Ballot(cast_seconds_ago=dice.uniform(1, 30) * 86_400.0) for _ in range(count)]


def _make_voters(session: connection, voters: Sequence[UUID], ballots: Sequence[Ballot]) -> None:
    people = [
        (voter, ballot.cast_seconds_ago + ballot.account_age_seconds, ballot.address)
        for voter, ballot in zip(voters, ballots, strict=True)
    ]
    with session.cursor() as tx:
        execute_values(
            tx,
            """
            WITH people AS (
                SELECT id, age::float8 AS age, ip::inet AS ip FROM (VALUES %s) AS p (id, age, ip)
            ),
            accounts AS (
                INSERT INTO auth.users (id, created_at)
                SELECT id, now() - age * interval '1 second' FROM people
            ), signed_in AS (
                INSERT INTO auth.sessions (user_id, ip, created_at)
                SELECT id, ip, now() - age * interval '1 second' FROM people WHERE ip IS NOT NULL
            )
            INSERT INTO lensers.profiles (id, user_id, handle, display_name)
            SELECT id, id, 'voter.' || left(replace(id::text, '-', ''), 16), 'A voter' FROM people
            """,
            people,
            page_size=10_000,
        )


def _insert_votes(
    session: connection, battle: UUID, voters: Sequence[UUID], ballots: Sequence[Ballot]
) -> None:
    with session.cursor() as tx:
        execute_values(
            tx,
            """
            INSERT INTO battles.votes (battle_id, voter_lenser_id, vote_value, is_draw, created_at)
            SELECT battle, voter, choice::battles.vote_value_enum, choice = 'draw',
                   now() - ago::float8 * interval '1 second'
            FROM (VALUES %s) AS v (battle, voter, choice, ago)
            """,
            [
                (battle, voter, ballot.choice, ballot.cast_seconds_ago)
                for voter, ballot in zip(voters, ballots, strict=True)
            ],
            page_size=10_000,
        )
