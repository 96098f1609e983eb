"""An inspection from votes to moderation, on real rows, by the real actor."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.database import Database
from app.local.votes import Ballot, cast
from app.platform.battle_moves import close_battles
from tests.integration.broker_rows import wait_until_empty
from tests.integration.conftest import import_afresh, running_worker
from tests.integration.vote_rows import voting_battle
from tests.sql import call

Inspect = Callable[[UUID], None]


@pytest.fixture
def inspect(broker: LeaseBroker) -> Inspect:
    """Inspect a battle at once, by calling the actor's function."""
    (module,) = import_afresh("actors.votes")
    return lambda battle: module.inspect_votes.fn(str(battle))


@pytest.fixture
def battle(connection: Connection) -> UUID:
    return voting_battle(connection)


def honest(count: int = 120, hours: float = 6) -> list[Ballot]:
    dice = random.Random(7)
    return [
        Ballot(
            dice.choice(["contender_a", "contender_b"]),
            dice.uniform(0, hours * 3600),
            known=dice.random() < 0.7,
            address=f"10.{dice.randrange(200)}.{dice.randrange(200)}.{dice.randrange(200)}",
        )
        for _ in range(count)
    ]


def burst(count: int = 80) -> list[Ballot]:
    dice = random.Random(8)
    return [Ballot("contender_b", dice.uniform(60, 120), 86_400.0, known=False) for _ in range(count)]


def counts(session: Connection) -> dict[str, int]:
    return {
        table: call(session, f"SELECT count(*) FROM {table}")
        for table in (
            "audit.vote_anomalies",
            "audit.moderation_decisions",
            "public.notifications",
            "worker.held_battles",
            "worker.vote_actions",
        )
    }


@pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
def test_honest_votes_lead_to_nothing(connection: Connection, battle: UUID, inspect: Inspect) -> None:
    cast(connection, battle, honest())
    inspect(battle)
    assert set(counts(connection).values()) == {0}
    assert call(connection, "SELECT votes_seen FROM worker.vote_inspections") == 120


@pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])
def test_a_burst_is_flagged_marked_decided_told_and_held_once(
    connection: Connection, battle: UUID, inspect: Inspect
) -> None:
    cast(connection, battle, honest())
    rigged = cast(connection, battle, burst())
    inspect(battle)
    after = counts(connection)
    inspect(battle)
    assert counts(connection) == after
    flagged = set(call(connection, "SELECT array_agg(DISTINCT voter_lenser_id) FROM audit.vote_anomalies"))
    assert len(flagged & set(rigged)) >= 78
    assert len(flagged - set(rigged)) <= 4
    assert after["audit.moderation_decisions"] == after["public.notifications"] >= 1
    assert after["worker.held_battles"] == 1
    marked = "SELECT count(*) FROM reputation.vote_risk_scores WHERE review_status = 'excluded'"
    assert call(connection, marked) >= 78
    assert call(connection, "SELECT count(*) FROM worker.vote_actions WHERE error IS NOT NULL") == 0
    reason = "SELECT evidence ->> 'expected_votes' FROM worker.vote_actions WHERE action = 'hold' LIMIT 1"
    assert float(call(connection, reason)) < 20


def test_votes_behind_one_address_are_flagged(connection: Connection, battle: UUID, inspect: Inspect) -> None:
    cast(connection, battle, honest())
    dice = random.Random(9)
    rigged = cast(
        connection,
        battle,
        [Ballot("contender_a", dice.uniform(0, 20_000), address="192.0.2.7") for _ in range(30)],
    )
    inspect(battle)
    kept = "SELECT array_agg(voter_lenser_id) FROM audit.vote_anomalies WHERE anomaly_type = 'shared_address'"
    assert set(call(connection, kept)) == set(rigged)
    assert "192.0.2.7" not in call(
        connection, "SELECT string_agg(evidence::text, '') FROM worker.vote_actions"
    )


def test_a_database_without_addresses_is_inspected_all_the_same(
    connection: Connection, superuser: Connection, jobs_database: Database, battle: UUID, inspect: Inspect
) -> None:
    assert call(connection, "SELECT worker.fn_vote_address_source()") == "auth.sessions"
    cast(connection, battle, honest())
    call(superuser, "DROP TABLE auth.sessions; SELECT 1")
    assert call(connection, "SELECT worker.fn_vote_address_source()") is None
    inspect(battle)
    assert call(connection, "SELECT votes_seen FROM worker.vote_inspections") == 120


def hold(session: Connection, battle: UUID, inspect: Inspect) -> None:
    cast(session, battle, [*honest(), *burst()])
    inspect(battle)
    assert call(session, "SELECT count(*) FROM worker.held_battles") == 1
    call(session, "UPDATE battles.battles SET voting_closes_at = now() WHERE status = 'voting' RETURNING 1")


def release(session: Connection, battle: UUID) -> None:
    assert call(session, "SELECT worker.release_finalize_hold(%s, 'grace')", battle)


def resolve(session: Connection, battle: UUID) -> None:
    call(session, "SELECT count(fn_resolve_vote_anomaly(id)) FROM audit.vote_anomalies")


@pytest.mark.parametrize("let_go", [release, resolve])
def test_a_held_battle_is_closed_only_when_somebody_has_looked(
    connection: Connection,
    jobs_database: Database,
    battle: UUID,
    inspect: Inspect,
    let_go: Callable[[Connection, UUID], None],
) -> None:
    other = voting_battle(connection)
    hold(connection, battle, inspect)
    status = "SELECT status::text FROM battles.battles WHERE id = %s"
    close_battles(jobs_database)
    assert call(connection, status, battle) == "voting"
    assert call(connection, status, other) == "closed"
    let_go(connection, battle)
    inspect(battle)
    close_battles(jobs_database)
    assert call(connection, status, battle) == "closed"


def test_what_the_platform_refuses_holds_up_nothing_else(
    connection: Connection, battle: UUID, inspect: Inspect
) -> None:
    call(connection, "DROP TABLE audit.moderation_decisions; SELECT 1")
    hold(connection, battle, inspect)
    refused = "SELECT array_agg(DISTINCT action) FROM worker.vote_actions WHERE error IS NOT NULL"
    assert call(connection, refused) == ["decision"]


def test_messages_become_inspections_in_a_worker(
    connection: Connection, battle: UUID, broker: LeaseBroker, inspect: Inspect
) -> None:
    cast(connection, battle, honest(20))
    with running_worker(broker):
        assert call(connection, "SELECT worker.fn_want_inspections(ARRAY[%s]::uuid[], 500)", battle) == 1
        wait_until_empty(connection)
    inspected = "SELECT ARRAY[votes_seen, inspections] FROM worker.vote_inspections WHERE battle_id = %s"
    assert call(connection, inspected, battle) == [20, 1]


@pytest.mark.parametrize("platform_profile", ["repaired"])
def test_platform_reasons_alone_flag_nobody(connection: Connection, battle: UUID, inspect: Inspect) -> None:
    ballots = [replace(ballot, known=False, account_age_seconds=50_000.0) for ballot in honest(30)]
    cast(connection, battle, ballots)
    inspect(battle)
    found: list[Any] = call(
        connection, "SELECT array_agg(d) FROM fn_detect_suspicious_voting(%s) AS d", battle
    )
    assert found
    assert counts(connection)["audit.vote_anomalies"] == 0
