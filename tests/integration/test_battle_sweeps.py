"""Battles that move by themselves: drafts open, due ones start, voting ends; one that can't holds up none."""

from __future__ import annotations

from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.broker import LeaseBroker
from app.database import Database
from app.local.battles import Contender, make_battles
from app.local.platform import Seeded
from app.platform.battle_moves import close_battles, promote_battles
from tests.integration.battle_rows import GPT, MINI, status_of
from tests.integration.conftest import import_afresh, running_worker
from tests.sql import call
from tests.waiting import eventually

BOTH_PLATFORMS = pytest.mark.parametrize("platform_profile", ["repaired", "faulty"])

#: A trigger that lets one battle fail whenever it is changed.
POISON = """
    CREATE FUNCTION battles.poison() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$;
    CREATE TRIGGER poison BEFORE UPDATE ON battles.battles
        FOR EACH ROW WHEN (OLD.title = 'poisoned') EXECUTE FUNCTION battles.poison();
"""


def draft(connection: Connection, *contenders: Contender, **columns: object) -> UUID:
    (battle,) = make_battles(
        connection,
        1,
        *(contenders or (GPT, MINI)),
        **{
            "task_prompt": "Praise the sea",
            "status": "draft",
            "auto_promote": True,
            "execution_starts_at": None,
            **columns,
        },
    )
    return battle


def voted(connection: Connection, count: int = 1, **columns: object) -> list[UUID]:
    """Battles whose voting ended a minute ago, with two votes for slot B."""
    battles = make_battles(
        connection,
        count,
        GPT,
        MINI,
        **{
            "task_prompt": "Praise the sea",
            "status": "voting",
            "voting_closes_at": call(connection, "SELECT now() - interval '1 minute'"),
            **columns,
        },
    )
    connection.cursor().execute(
        "INSERT INTO battles.vote_aggregates (battle_id, contender_id, raw_vote_count)"
        " SELECT battle_id, id, 2 FROM battles.contenders WHERE slot = 'B' AND battle_id = ANY (%s)",
        (battles,),
    )
    return battles


def poison(connection: Connection, battle: UUID) -> None:
    connection.cursor().execute("UPDATE battles.battles SET title = 'poisoned' WHERE id = %s", (battle,))
    connection.cursor().execute(POISON)


@BOTH_PLATFORMS
def test_a_ready_draft_opens_and_is_due_to_start(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    battle = draft(connection)
    assert promote_battles(jobs_database) == 1
    assert status_of(connection, battle) == "open"
    assert call(connection, "SELECT execution_starts_at <= now() FROM battles.battles") is True
    audited = "SELECT entity_id FROM audit.events WHERE event_type = 'battle.auto_promoted'"
    assert str(call(connection, audited)) == str(battle)
    assert promote_battles(jobs_database) == 0


@BOTH_PLATFORMS
@pytest.mark.parametrize(
    ("contenders", "columns", "blocker"),
    [
        ((GPT, MINI), {"task_prompt": "  "}, "no_template_or_task_prompt"),
        ((GPT,), {}, "insufficient_contenders:1"),
        ((GPT, MINI), {"shared_input_snapshot": "[1]"}, "prompt_render_failed:"),
        ((GPT, Contender("gpt-4o", byok_key_id=UUID(int=1))), {}, "byok_invalid:contender="),
    ],
    ids=["no task", "alone", "unreadable", "key"],
)
def test_a_draft_that_is_not_ready_stays_and_says_why(
    contenders: tuple[Contender, ...],
    columns: dict[str, str],
    blocker: str,
    jobs_database: Database,
    connection: Connection,
    seeded: Seeded,
) -> None:
    battle = draft(connection, *contenders, **columns)
    assert promote_battles(jobs_database) == 0
    assert status_of(connection, battle) == "draft"
    readiness = call(connection, "SELECT fn_battles_check_readiness(%s)", battle)
    assert readiness["ready"] is False
    assert readiness["blockers"][0].startswith(blocker)


@pytest.mark.parametrize("columns", [{"auto_promote": False}, {"deleted_at": "now"}], ids=["own", "deleted"])
def test_other_drafts_stay(
    columns: dict[str, object], jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    battle = draft(connection, **columns)
    assert promote_battles(jobs_database) == 0
    assert status_of(connection, battle) == "draft"


@BOTH_PLATFORMS
def test_a_draft_with_a_time_to_open_waits_for_it(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    battle = draft(connection)
    row = connection.cursor()
    row.execute(
        "INSERT INTO battles.schedules (battle_id, open_at) VALUES (%s, now() + interval '1 hour')", (battle,)
    )
    assert promote_battles(jobs_database) == 0
    row.execute("UPDATE battles.schedules SET open_at = now()")
    assert promote_battles(jobs_database) == 1


@BOTH_PLATFORMS
def test_a_poisoned_draft_holds_up_no_other(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    poisoned, *others = [draft(connection) for _ in range(4)]
    poison(connection, poisoned)
    assert promote_battles(jobs_database) == 3
    assert {status_of(connection, battle) for battle in others} == {"open"}
    assert status_of(connection, poisoned) == "draft"


@BOTH_PLATFORMS
def test_a_battle_whose_voting_has_ended_is_closed_with_its_winner(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    (battle,) = voted(connection)
    (later,) = voted(connection, voting_closes_at=call(connection, "SELECT now() + interval '1 hour'"))
    assert close_battles(jobs_database) == 1
    assert (status_of(connection, battle), status_of(connection, later)) == ("closed", "voting")
    winner = (
        "SELECT c.slot FROM battles.battles b JOIN battles.contenders c ON c.id = b.winner_contender_id"
        " WHERE b.id = %s"
    )
    assert call(connection, winner, battle) == "B"


@BOTH_PLATFORMS
def test_poisoned_and_judged_battles_hold_up_no_other_however_many_they_are(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    hour_ago = call(connection, "SELECT now() - interval '1 hour'")
    judged = voted(connection, 51, ai_judge_enabled=True, voting_closes_at=hour_ago)
    poisoned = voted(connection, 51, voting_closes_at=hour_ago, title="poisoned")
    connection.cursor().execute(POISON)
    (ordinary,) = voted(connection)
    assert close_battles(jobs_database) >= 1
    assert status_of(connection, ordinary) == "closed"
    assert status_of(connection, poisoned[0]) == "voting"
    assert status_of(connection, judged[0]) in {"voting", "scoring"}


def test_a_judged_battle_is_closed_once_there_is_a_verdict(
    jobs_database: Database, connection: Connection, seeded: Seeded
) -> None:
    (battle,) = voted(connection, ai_judge_enabled=True)
    assert close_battles(jobs_database) == 0
    assert status_of(connection, battle) == "scoring"
    connection.cursor().execute(
        "INSERT INTO battles.ai_judge_verdicts (battle_id, contender_id, score, model_key)"
        " SELECT battle_id, id, 9, 'judge' FROM battles.contenders WHERE slot = 'A'"
    )
    assert close_battles(jobs_database) == 1
    assert status_of(connection, battle) == "closed"


@BOTH_PLATFORMS
@pytest.mark.environment(BATTLE_AUTO_PROMOTE_INTERVAL_MS="60000")
def test_the_sweeps_take_a_battle_from_draft_to_its_jobs_and_another_to_its_end(
    broker: LeaseBroker, connection: Connection, seeded: Seeded
) -> None:
    starting, promotion, finalizing = import_afresh(
        "schedules.battles", "schedules.promotion", "schedules.finalizing"
    )
    rising, (ending,) = draft(connection), voted(connection)
    promotion.promote_battles.send()
    finalizing.finalize_battles.send()
    with running_worker(broker):
        eventually(lambda: status_of(connection, rising) == "open", what="the promotion")
        starting.start_battles.send()
        starting.reclaim_battle_jobs.send()
        eventually(lambda: status_of(connection, rising) == "executing", what="the start")
        eventually(lambda: status_of(connection, ending) == "closed", what="the result")
    assert call(connection, "SELECT count(*) FROM worker.jobs WHERE battle_id = %s", rising) == 2
