"""Jobs while somebody keeps an old view of the database: none costs more for those that were done since.

Counted are the pages that each statement looks at. Postgres removes nothing that died meanwhile, so whoever
walks over what is gone looks at more and more of them.
"""

from __future__ import annotations

import pytest

from app.local.platform import Seeded
from tests.integration.budget_rows import set_budget, set_price, use
from tests.integration.hot_path import STEPS, HotPath, long_reader
from tests.sql import Connection, call

#: What a step may look at more after a thousand jobs than after a hundred: indexes grow by a level, and
#: entries of equal keys stand on more than one page. A dead row of each job would make hundreds.
MORE_PAGES = 25

#: The same for each of many calls that are held for and settled.
MORE_PAGES_OF_A_CALL = 16

_TAKING_TURNS = """
    CREATE FUNCTION pg_temp.take(p_ticket uuid) RETURNS integer LANGUAGE sql AS $$
        SELECT worker.take_passage(p_ticket, 'openai', 'gpt-4o', 'platform', 'ada', 60)
    $$;
    CREATE FUNCTION pg_temp.take_turns() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        v_first uuid := gen_random_uuid();
        v_second uuid := gen_random_uuid();
    BEGIN
        ASSERT pg_temp.take(v_first) = 0;
        ASSERT pg_temp.take(v_second) > 0;
        UPDATE worker.waiters SET is_message = true WHERE ticket = v_second;
        PERFORM worker.settle_passage(v_first);
        ASSERT pg_temp.take(v_second) = 0;
        PERFORM worker.settle_passage(v_second);
    END $$;
"""

#: A call of which nobody tells stands before all that come after it.
_PAYING = """
    CREATE FUNCTION pg_temp.hold(p_hold uuid) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        ASSERT (SELECT h.verdict FROM worker.hold_budget(
            p_hold, 'ada', gen_random_uuid(), false, 'acme', 'big', 2, 0, 0, 0, 600) AS h) = 'held';
    END $$;
    CREATE FUNCTION pg_temp.pay(p_calls integer) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        v_hold uuid;
    BEGIN
        FOR i IN 1..p_calls LOOP
            v_hold := gen_random_uuid();
            PERFORM pg_temp.hold(v_hold);
            PERFORM worker.settle_holds(jsonb_build_array(jsonb_build_object(
                'hold', v_hold, 'provider', 'acme', 'model', 'big', 'age_ms', 0, 'tokens_in', 1)));
        END LOOP;
    END $$;
    SELECT pg_temp.hold(gen_random_uuid());
"""


@pytest.fixture
def path(connection: Connection, seeded: Seeded) -> HotPath:
    return HotPath(connection)


def costlier_steps(path: HotPath, dsn: str) -> dict[str, int]:
    """The steps that cost more after a thousand jobs behind a long reader, with the pages they look at."""
    with long_reader(dsn):
        path.do_jobs(100)
        first = path.pages_of_a_job()
        path.do_jobs(900)
        path.analyze()
        last = path.pages_of_a_job()
    return {step: last[step] for step in STEPS if last[step] > first[step] + MORE_PAGES}


def test_no_step_of_a_job_costs_more_behind_a_long_reader(path: HotPath, dsn: str) -> None:
    assert costlier_steps(path, dsn) == {}


def test_a_lease_is_renewed_at_no_more_cost_unless_it_looks_at_everything(path: HotPath, dsn: str) -> None:
    pages = []
    with long_reader(dsn):
        for jobs in (100, 900):
            path.do_jobs(jobs)
            pages.append(path.pages_of_a_renewal(0.2))
        assert path.pages_of_a_renewal(None) > pages[1] + MORE_PAGES
    assert pages[1] <= pages[0] + MORE_PAGES


def test_nor_does_one_whose_call_is_under_a_limit(path: HotPath, connection: Connection, dsn: str) -> None:
    call(connection, "SELECT worker.set_limit('openai', '*', 1e9, 1e12, 1000)::text")
    call(connection, "SELECT worker.learn_limits('openai', 'gpt-4o', 'platform', 1e9, NULL)::text")
    assert costlier_steps(path, dsn) == {}
    assert call(connection, "SELECT sum(under_way) FROM worker.buckets") == 0
    assert call(connection, "SELECT count(*) FROM worker.passages") == 0


def test_a_place_in_line_costs_no_more_for_those_that_were_there_before(
    connection: Connection, dsn: str
) -> None:
    """One call may be under way at a time; while it is, somebody comes and waits for its end."""
    path = HotPath(connection)
    call(connection, "SELECT worker.set_limit('openai', '*', NULL, NULL, 1)::text")
    connection.cursor().execute(_TAKING_TURNS)
    with long_reader(dsn):
        pages = []
        for rounds in (30, 500):
            connection.cursor().execute(
                "DO $$ BEGIN FOR i IN 1..%s LOOP PERFORM pg_temp.take_turns(); COMMIT; END LOOP; END $$",
                (rounds,),
            )
            pages.append(path.pages_of("SELECT pg_temp.take_turns()"))
    assert pages[1] < 1.6 * pages[0]
    assert call(connection, "SELECT count(*) FROM worker.waiters") == 0


def test_a_ticket_behind_many_of_the_same_owner_costs_no_more_than_the_first(path: HotPath, dsn: str) -> None:
    pages = []
    with long_reader(dsn):
        for tickets in (30, 500):
            path.repeat("enqueue", tickets)
            pages.append(path.pages_of("SELECT pg_temp.enqueue()"))
    assert pages[1] <= pages[0] + MORE_PAGES


def test_a_call_under_budgets_costs_no_more_for_those_that_were_paid_before(
    connection: Connection, dsn: str
) -> None:
    path, pages, calls_counted = HotPath(connection), [], 64
    set_price(connection)
    for period in ("day", "month", "total"):
        set_budget(connection, 100, period)
    connection.cursor().execute(_PAYING)
    with long_reader(dsn):
        for calls in (100, 900):
            connection.cursor().execute(
                "DO $$ BEGIN FOR i IN 1..%s LOOP PERFORM pg_temp.pay(1); COMMIT; END LOOP; END $$", (calls,)
            )
            pages.append(path.pages_of(f"SELECT pg_temp.pay({calls_counted})"))
    assert pages[1] <= pages[0] + calls_counted * MORE_PAGES_OF_A_CALL
    spent = 1000 + 2 * calls_counted
    assert use(connection) == dict.fromkeys(("day", "month", "total"), (spent, 2))
