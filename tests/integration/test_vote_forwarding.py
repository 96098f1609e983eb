"""How votes and battle events are found, forwarded and told apart, in the database's own functions."""

from __future__ import annotations

from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.local.votes import Ballot, cast
from tests.databases import connect_as_worker
from tests.integration.vote_rows import trigger_workflow, voting_battle
from tests.sql import call
from tests.waiting import eventually


@pytest.fixture
def battle(connection: Connection) -> UUID:
    return voting_battle(connection)


CATCH_UP = "SELECT array_agg(b) FROM worker.fn_catch_up_votes('10 minutes', 500) AS b"
FINISH = "SELECT worker.fn_finish_inspection(%s, now(), worker.fn_settled_below(), 1)"


def waiting(session: Connection, battle: UUID) -> list[Any]:
    with session.cursor() as row:
        row.execute(
            "SELECT message -> 'kwargs' ->> 'battle_id', mtime FROM dramatiq.queue"
            " WHERE state = 'queued' AND message ->> 'actor_name' = 'inspect_votes'"
            " AND message -> 'kwargs' ->> 'battle_id' = %s",
            (str(battle),),
        )
        return row.fetchall()


def is_settled(session: Connection, battle: UUID) -> bool:
    """Inspect once more, and say whether nothing is left to be found.

    As long as an older transaction runs anywhere on the server, here that of another test, a vote counts as
    unseen: it might belong to that transaction.
    """
    call(session, FINISH, battle)
    return call(session, CATCH_UP) is None


def test_a_vote_is_found_without_any_notification(connection: Connection, battle: UUID) -> None:
    cast(connection, battle, [Ballot(known=False)])
    assert call(connection, CATCH_UP) == [battle]
    assert len(waiting(connection, battle)) == 1


def test_a_vote_that_was_inspected_is_not_found_again(connection: Connection, battle: UUID) -> None:
    cast(connection, battle, [Ballot(known=False)])
    assert call(connection, CATCH_UP) == [battle]
    eventually(lambda: is_settled(connection, battle))
    connection.cursor().execute("DELETE FROM dramatiq.queue")
    assert call(connection, CATCH_UP) is None
    assert waiting(connection, battle) == []


def test_a_vote_that_commits_late_is_found_although_newer_ones_were_inspected(
    connection: Connection, battle: UUID, dsn: str
) -> None:
    with closing(connect_as_worker(dsn)) as slow:
        slow.autocommit = False
        with slow.cursor() as tx:
            # A savepoint, as in a function that catches errors, has a transaction number of its own.
            tx.execute("SELECT pg_current_xact_id()")
            tx.execute("SAVEPOINT inner_one")
        cast(slow, battle, [Ballot(known=False)])
        cast(connection, battle, [Ballot(known=False)])
        call(connection, CATCH_UP)
        call(connection, FINISH, battle)
        slow.commit()
    call(connection, "DELETE FROM dramatiq.queue WHERE true RETURNING 1")
    assert call(connection, CATCH_UP) == [battle]
    eventually(lambda: is_settled(connection, battle))


def test_a_date_in_the_future_does_not_carry_the_watermark_away(connection: Connection, battle: UUID) -> None:
    cast(connection, battle, [Ballot(known=False, cast_seconds_ago=-86_400)])
    call(connection, CATCH_UP)
    call(connection, FINISH, battle)
    cast(connection, battle, [Ballot(known=False)])
    assert call(connection, CATCH_UP) == [battle]


def test_a_message_that_waits_is_enough_for_all_votes_until_it_is_taken(
    connection: Connection, battle: UUID
) -> None:
    want = "SELECT worker.fn_want_inspections(ARRAY[%s, %s], 3600000)"
    assert call(connection, want, battle, uuid4()) == 1
    assert call(connection, want, battle, battle) == 0
    call(connection, "UPDATE dramatiq.queue SET state = 'consumed' WHERE true RETURNING 1")
    assert call(connection, want, battle, battle) == 1
    first, second = (
        call(
            connection, f"SELECT {which}(mtime) FROM dramatiq.queue WHERE unique_key LIKE 'inspect_votes:%%'"
        )
        for which in ("min", "max")
    )
    assert abs((second - first).total_seconds() - 3_600) < 0.01


def test_an_inspection_whose_message_got_lost_is_wanted_again(connection: Connection, battle: UUID) -> None:
    call(connection, "SELECT worker.fn_want_inspections(ARRAY[%s]::uuid[], 500)", battle)
    call(connection, "DELETE FROM dramatiq.queue WHERE true RETURNING 1")
    assert call(connection, CATCH_UP) is None
    call(
        connection,
        "UPDATE worker.vote_inspections SET wanted_at = now() - interval '2 minutes' WHERE true RETURNING 1",
    )
    assert call(connection, CATCH_UP) == [battle]


def test_each_statement_notifies_once_for_each_battle(connection: Connection, battle: UUID) -> None:
    call(connection, 'LISTEN "lf_worker.votes"; SELECT 1')
    connection.notifies.clear()
    cast(connection, battle, [Ballot(known=False)] * 50)
    connection.poll()
    assert [notice.payload for notice in connection.notifies] == [str(battle)]


DISPATCH = "SELECT count(*) FROM worker.fn_dispatch_battle_events('10 minutes')"


def move(session: Connection, battle: UUID, status: str) -> None:
    call(session, "UPDATE battles.battles SET status = %s WHERE id = %s RETURNING 1", status, battle)


def test_a_change_of_status_begins_workflows_once_with_the_old_status(
    connection: Connection, battle: UUID
) -> None:
    trigger_workflow(connection)
    move(connection, battle, "scoring")
    assert call(connection, DISPATCH) == 1
    assert call(connection, DISPATCH) == 0
    assert call(connection, "SELECT context_inputs FROM lenses.workflow_runs") == {
        "battle_id": str(battle),
        "status": "scoring",
        "old_status": "voting",
    }


def test_updates_that_leave_the_status_alone_never_fire_however_late(
    connection: Connection, battle: UUID
) -> None:
    trigger_workflow(connection)
    move(connection, battle, "scoring")
    call(connection, DISPATCH)
    call(
        connection,
        "UPDATE lenses.workflow_runs SET created_at = now() - interval '2 hours' WHERE true RETURNING 1",
    )
    call(connection, "UPDATE battles.battles SET vote_velocity = 2 WHERE id = %s RETURNING 1", battle)
    assert call(connection, DISPATCH) == 0
    assert call(connection, "SELECT count(*) FROM lenses.workflow_runs") == 1


def test_a_dispatch_that_fails_is_tried_again_and_holds_up_no_other(
    connection: Connection, battle: UUID
) -> None:
    trigger_workflow(connection, '{"status": "closed"}')
    call(
        connection,
        "CREATE FUNCTION worker.fn_workflows_dispatch_on_event(p_event_type text, p_event_payload jsonb)"
        " RETURNS integer LANGUAGE plpgsql AS $$ BEGIN"
        " IF p_event_payload ->> 'status' = 'scoring' THEN RAISE EXCEPTION 'no'; END IF;"
        " RETURN public.fn_workflows_dispatch_on_event(p_event_type, p_event_payload); END $$; SELECT 1",
    )
    move(connection, battle, "scoring")
    move(connection, battle, "closed")
    assert call(connection, DISPATCH) == 2
    assert call(connection, "SELECT error FROM worker.battle_dispatches WHERE status = 'scoring'") == "no"
    assert call(connection, "SELECT runs FROM worker.battle_dispatches WHERE status = 'closed'") == 1
    call(connection, "DROP FUNCTION worker.fn_workflows_dispatch_on_event; SELECT 1")
    call(connection, "UPDATE worker.battle_dispatches SET due_at = now() WHERE runs IS NULL RETURNING 1")
    assert call(connection, DISPATCH) == 1
    assert call(connection, "SELECT runs FROM worker.battle_dispatches WHERE status = 'scoring'") == 0


def test_two_forwarders_at_once_dispatch_each_change_once(
    connection: Connection, battle: UUID, dsn: str
) -> None:
    trigger_workflow(connection)
    move(connection, battle, "scoring")
    with closing(connect_as_worker(dsn)) as other:
        connection.autocommit = False
        assert call(connection, DISPATCH) == 1
        call(other, "SET lock_timeout = '100ms'; SELECT 1")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            call(other, DISPATCH)
        connection.commit()
        connection.autocommit = True
        assert call(other, DISPATCH) == 0


def test_what_passed_while_a_kind_was_off_stays_passed(connection: Connection, battle: UUID) -> None:
    trigger_workflow(connection)
    cast(connection, battle, [Ballot(known=False)])
    move(connection, battle, "scoring")
    call(connection, "SELECT worker.fn_skip_feed(feed) FROM worker.feeds")
    assert call(connection, DISPATCH) == 0
    assert call(connection, CATCH_UP) is None
