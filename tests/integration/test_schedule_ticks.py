"""Schedules that come due while nothing runs: one run makes up for it, or it is noted."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.database import Database
from app.local.platform import Seeded
from app.local.teams import make_agent
from app.local.workflows import SeededWorkflow, make_schedule, make_workflow
from app.platform.cron_readings import compare_new_expressions
from tests.databases import connect_as_worker
from tests.integration.schedule_rows import dispatch, let_pass, now, plan_row, runs_of, schedule_row
from tests.integration.workflow_rows import BOTH_PLATFORMS, rows, update

DAY = timedelta(days=1)


@pytest.fixture
def workflow(connection: Connection, seeded: Seeded) -> SeededWorkflow:
    return make_workflow(connection)


@pytest.fixture
def slot(connection: Connection) -> datetime:
    """A full hour, three hours ago."""
    return now(connection).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)


@pytest.fixture
def daily(jobs_database: Database, connection: Connection, workflow: SeededWorkflow, slot: datetime) -> UUID:
    """A planned schedule that is due each day at the time of `slot`, next tomorrow."""
    return make_daily(jobs_database, connection, workflow, slot)


def make_daily(
    database: Database, connection: Connection, workflow: SeededWorkflow, slot: datetime, **columns: object
) -> UUID:
    expression = f"0 {slot.hour} * * *"
    schedule = make_schedule(connection, workflow.workflow_id, cron_expr=expression, **columns)
    assert dispatch(database) == {}
    assert plan_row(connection, schedule)["next_slot"] == slot + DAY
    return schedule


@BOTH_PLATFORMS
def test_several_slots_that_nothing_was_there_for_make_one_run(
    jobs_database: Database, connection: Connection, daily: UUID, slot: datetime
) -> None:
    let_pass(connection, daily, timedelta(days=3))
    assert dispatch(jobs_database) == {"dispatched": 1}
    (run,) = runs_of(connection, daily)
    assert run["scheduled_for"] == slot
    told = schedule_row(connection, daily)
    first = slot - 2 * DAY
    assert told["last_dispatch_status"] == "dispatched"
    assert told["last_error_message"] == (
        f"missed 3 times, between {first:%Y-%m-%d %H:%M} and {run['scheduled_for']:%Y-%m-%d %H:%M} UTC:"
        " one run makes up for it"
    )
    assert told["next_run_at"] == slot + DAY
    update(connection, "lenses.workflow_runs", run["id"], status="completed")
    assert dispatch(jobs_database) == {}
    assert len(runs_of(connection, daily)) == 1


@BOTH_PLATFORMS
def test_a_schedule_that_skips_what_it_missed_says_so(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, slot: datetime
) -> None:
    agent = make_agent(connection, "Nia")
    policy = {"mode": "parallel", "onMissed": "skip"}
    schedule = make_daily(jobs_database, connection, workflow, slot, queue_policy=policy, assignee_id=agent)
    let_pass(connection, schedule, timedelta(days=1))
    assert dispatch(jobs_database) == {"skipped_missed": 1}
    assert runs_of(connection, schedule) == []
    told = schedule_row(connection, schedule)
    assert told["last_dispatch_status"] == "skipped_missed"
    assert told["last_error_message"] == (
        f"missed once, at {slot:%Y-%m-%d %H:%M} UTC: skipped, as its queue_policy.onMissed says"
    )
    (logged,) = rows(connection, "SELECT metadata FROM agents.action_logs")
    assert logged["metadata"]["status"] == "skipped_missed"
    assert dispatch(jobs_database) == {}
    let_pass(connection, schedule, slot + DAY - now(connection))
    assert dispatch(jobs_database) == {"dispatched": 1}


@pytest.mark.parametrize("policy", [[], "skip", None, {"onMissed": ["skip"]}, {"onMissed": "backfill"}])
def test_any_other_policy_makes_one_run(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, policy: object, slot: datetime
) -> None:
    schedule = make_daily(jobs_database, connection, workflow, slot)
    with connection.cursor() as row:
        row.execute(
            "UPDATE lenses.workflow_schedules SET queue_policy = to_jsonb(%s::json)", (json.dumps(policy),)
        )
    let_pass(connection, schedule, timedelta(days=4))
    assert dispatch(jobs_database) == {"dispatched": 1}
    assert len(runs_of(connection, schedule)) == 1


def test_what_a_restart_delays_is_not_missed(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, slot: datetime
) -> None:
    schedule = make_daily(jobs_database, connection, workflow, slot, queue_policy={"onMissed": "skip"})
    # Three minutes ago, and no more until tomorrow.
    due = now(connection).replace(second=0, microsecond=0) - timedelta(minutes=3)
    rows(
        connection,
        "UPDATE lenses.workflow_schedules SET cron_expr = %s WHERE id = %s",
        f"{due.minute} {due.hour} * * *",
        schedule,
    )
    assert dispatch(jobs_database) == {}
    let_pass(connection, schedule, timedelta(days=1))
    assert dispatch(jobs_database) == {"dispatched": 1}
    (run,) = runs_of(connection, schedule)
    assert run["scheduled_for"] == due
    assert schedule_row(connection, schedule)["last_error_message"] is None


def test_two_workers_that_come_up_at_once_make_one_run(
    jobs_database: Database, connection: Connection, daily: UUID
) -> None:
    let_pass(connection, daily, timedelta(days=2))
    together = Barrier(4)

    def come_up(_: int) -> dict[str, int]:
        together.wait()
        return dispatch(jobs_database)

    with ThreadPoolExecutor(4) as workers:
        outcomes = list(workers.map(come_up, range(4)))
    assert sorted(outcomes, key=len) == [{}, {}, {}, {"dispatched": 1}]
    assert len(runs_of(connection, daily)) == 1


def test_a_worker_that_looked_before_another_one_made_the_run_makes_none(
    jobs_database: Database, connection: Connection, daily: UUID, slot: datetime
) -> None:
    let_pass(connection, daily, timedelta(days=2))
    seen = jobs_database.call("SELECT * FROM worker.due_schedules()")
    assert dispatch(jobs_database) == {"dispatched": 1}
    late = jobs_database.call(
        "SELECT worker.dispatch_slot(%s, %s, %s, %s, true, NULL) AS outcome",
        (daily, seen[0]["planned_slot"], slot, slot + DAY),
    )
    assert late[0]["outcome"] is None
    assert len(runs_of(connection, daily)) == 1


def test_what_another_dispatcher_made_in_the_meantime_is_not_made_again(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, daily: UUID, slot: datetime
) -> None:
    let_pass(connection, daily, timedelta(days=1))
    rows(
        connection,
        "INSERT INTO lenses.workflow_runs (workflow_id, status, trigger_mode, schedule_id, scheduled_for)"
        " VALUES (%s, 'completed', 'schedule', %s, %s)",
        workflow.workflow_id,
        daily,
        slot,
    )
    assert dispatch(jobs_database) == {"made_elsewhere": 1}
    assert len(runs_of(connection, daily)) == 1


def test_a_schedule_that_another_session_has_locked_is_waited_for(
    jobs_database: Database, connection: Connection, dsn: str, daily: UUID
) -> None:
    let_pass(connection, daily, timedelta(days=1))
    with closing(connect_as_worker(dsn)) as other, ThreadPoolExecutor(1) as worker:
        with other, other.cursor() as row:
            row.execute("SELECT FROM lenses.workflow_schedules WHERE id = %s FOR UPDATE", (daily,))
            waiting = worker.submit(dispatch, jobs_database)
        assert waiting.result() == {"dispatched": 1}


def test_a_slot_that_can_not_be_served_now_stays_due(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow, daily: UUID, slot: datetime
) -> None:
    """A refusal that tells nothing of the schedule, such as a deadlock, is no answer to it."""
    other = make_daily(jobs_database, connection, workflow, slot)
    for schedule in (daily, other):
        let_pass(connection, schedule, timedelta(days=1))
    with connection.cursor() as row:
        row.execute(
            "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF NEW.schedule_id = '{daily}' THEN RAISE EXCEPTION 'gone' USING ERRCODE = '40P01'; END IF;"
            " RETURN NEW; END $$"
        )
        row.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON lenses.workflow_runs"
            " FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse()"
        )
        assert dispatch(jobs_database) == {"dispatched": 1}
        assert len(runs_of(connection, other)) == 1
        row.execute("DROP TRIGGER refuse ON lenses.workflow_runs")
    assert dispatch(jobs_database) == {"dispatched": 1}
    assert len(runs_of(connection, daily)) == 1


def test_a_frozen_queue_holds_what_is_due_until_it_is_opened(
    jobs_database: Database, connection: Connection, daily: UUID
) -> None:
    let_pass(connection, daily, timedelta(days=2))
    (seen,) = jobs_database.call("SELECT * FROM worker.due_schedules()")
    rows(connection, "UPDATE admin.execution_control SET queue_frozen = true")
    assert dispatch(jobs_database) == {}
    # Neither is what was found before.
    late = "SELECT worker.dispatch_slot(%s, %s, %s, now(), true, NULL) AS outcome"
    found = jobs_database.call(late, (daily, seen["planned_slot"], seen["planned_slot"]))
    assert found[0]["outcome"] is None
    rows(connection, "UPDATE admin.execution_control SET queue_frozen = false")
    assert dispatch(jobs_database) == {"dispatched": 1}


def test_what_passes_while_a_schedule_is_switched_off_was_not_missed(
    jobs_database: Database, connection: Connection, daily: UUID
) -> None:
    update(connection, "lenses.workflow_schedules", daily, is_active=False)
    let_pass(connection, daily, timedelta(days=2))
    assert dispatch(jobs_database) == {}
    update(connection, "lenses.workflow_schedules", daily, is_active=True)
    assert dispatch(jobs_database) == {}
    assert plan_row(connection, daily)["next_slot"] > now(connection)


def test_a_schedule_that_is_changed_forgets_when_it_was_due(
    jobs_database: Database, connection: Connection, daily: UUID, slot: datetime
) -> None:
    let_pass(connection, daily, timedelta(days=2))
    other = slot - timedelta(hours=2)
    update(connection, "lenses.workflow_schedules", daily, cron_expr=f"0 {other.hour} * * *")
    assert dispatch(jobs_database) == {}
    assert plan_row(connection, daily)["next_slot"] == other + DAY


def test_a_new_schedule_is_due_at_its_first_slot_and_not_before_it_was_made(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    """Made two minutes ago and not seen yet, it has missed nothing that came since."""
    made = now(connection) - timedelta(minutes=2)
    came, passed = (made.replace(second=0) + timedelta(minutes=minutes) for minutes in (1, -1))
    schedules = [
        make_schedule(
            connection,
            workflow.workflow_id,
            cron_expr=f"{at.minute} {at.hour} * * *",
            created_at=made,
        )
        for at in (came, passed)
    ]
    assert dispatch(jobs_database) == {"dispatched": 1}
    assert [len(runs_of(connection, schedule)) for schedule in schedules] == [1, 0]


@pytest.mark.parametrize(("skipped", "outcome"), [("missed", "skipped_calendar"), ("today", "dispatched")])
def test_the_calendar_is_asked_for_the_day_that_was_missed(
    jobs_database: Database,
    connection: Connection,
    workflow: SeededWorkflow,
    slot: datetime,
    skipped: str,
    outcome: str,
) -> None:
    missed = slot - DAY
    schedule = make_schedule(
        connection, workflow.workflow_id, cron_expr=f"0 {missed.hour} * * {missed.isoweekday()}"
    )
    dispatch(jobs_database)
    let_pass(connection, schedule, 7 * DAY)
    days = {"missed": missed.date(), "today": now(connection).date()}
    rows(
        connection,
        "INSERT INTO lenses.schedule_calendars (id, lenser_id, name, kind, dates, timezone)"
        " SELECT %s, lenser_id, 'holiday', 'skip_dates', ARRAY[%s::date], 'UTC' FROM lenses.workflows",
        schedule,
        days[skipped],
    )
    update(connection, "lenses.workflow_schedules", schedule, calendar_id=schedule)
    assert dispatch(jobs_database) == {outcome: 1}


def test_the_time_zone_of_a_schedule_is_honoured(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    """Nine in the morning in Istanbul is six in UTC all year; in Kathmandu it is a quarter past three."""
    for zone, hour, minute in (("Europe/Istanbul", 6, 0), ("Asia/Kathmandu", 3, 15)):
        schedule = make_schedule(connection, workflow.workflow_id, cron_expr="0 9 * * *", timezone=zone)
        dispatch(jobs_database)
        planned = plan_row(connection, schedule)["next_slot"].astimezone(UTC)
        assert (planned.hour, planned.minute) == (hour, minute)
        assert schedule_row(connection, schedule)["next_run_at"] == planned
        let_pass(connection, schedule, timedelta(days=1))
        assert dispatch(jobs_database) == {"dispatched": 1}
        (run,) = runs_of(connection, schedule)
        at = run["scheduled_for"].astimezone(UTC)
        assert (at.hour, at.minute) == (hour, minute)


@pytest.mark.parametrize(
    ("expression", "zone", "reason"),
    [
        ("0 0 30 2 *", "UTC", "'0 0 30 2 *' is never due: no month has such a day"),
        ("99 * * * *", "UTC", "no minute that can be read in '99 * * * *'"),
        ("0 9 * * *", "Europe/Atlantis", "there is no time zone 'Europe/Atlantis'"),
        ("* * * * * *", "UTC", "an expression has five fields, and '* * * * * *' has 6"),
    ],
)
@BOTH_PLATFORMS
def test_a_schedule_that_can_never_run_says_so_and_stops_no_other(
    jobs_database: Database,
    connection: Connection,
    workflow: SeededWorkflow,
    expression: str,
    zone: str,
    reason: str,
) -> None:
    broken = make_schedule(connection, workflow.workflow_id, cron_expr=expression, timezone=zone)
    fine = make_schedule(connection, workflow.workflow_id)
    assert dispatch(jobs_database) == {"dispatched": 1}
    assert len(runs_of(connection, fine)) == 1
    told = schedule_row(connection, broken)
    assert (told["last_dispatch_status"], told["last_error_message"]) == ("validation_failed", reason)
    assert told["next_run_at"] is None
    compare_new_expressions(jobs_database)
    update(connection, "lenses.workflow_schedules", broken, cron_expr="* * * * *", timezone="UTC")
    rows(connection, "UPDATE lenses.workflow_runs SET status = 'completed'")
    assert dispatch(jobs_database)["dispatched"] >= 1
    mended = schedule_row(connection, broken)
    assert (mended["last_dispatch_status"], mended["last_error_message"]) == ("dispatched", None)


@pytest.mark.parametrize(
    ("expression", "difference"),
    [
        ("0 9 * * *", None),
        ("*/15 8-18 1,15 * *", None),
        ("0 0 * * 7", None),
        ("0 9 * * mon", "it leaves out"),
        ("@daily", "it leaves out"),
        ("0 0 13 * 5", "it leaves out"),
        ("0 0 */2 * *", "it adds"),
    ],
)
def test_an_expression_that_the_platform_reads_differently_says_so(
    jobs_database: Database,
    connection: Connection,
    workflow: SeededWorkflow,
    expression: str,
    difference: str | None,
) -> None:
    schedule = make_schedule(connection, workflow.workflow_id, cron_expr=expression)
    dispatch(jobs_database)
    compare_new_expressions(jobs_database)
    plan = plan_row(connection, schedule)
    assert plan["is_compared"]
    assert plan["next_slot"] is not None
    told = schedule_row(connection, schedule)["last_error_message"]
    assert plan["difference"] == told
    if difference is None:
        assert told is None
    else:
        assert told.startswith("the platform's own dispatcher reads the expression differently: ")
        assert difference in told


def test_a_schedule_of_another_zone_is_left_to_the_platforms_dispatcher_while_that_runs(
    jobs_database: Database, connection: Connection, workflow: SeededWorkflow
) -> None:
    """Otherwise it would run twice a day: once in its zone and once in UTC."""
    istanbul = make_schedule(
        connection, workflow.workflow_id, cron_expr="0 9 * * *", timezone="Europe/Istanbul"
    )
    named = make_schedule(connection, workflow.workflow_id, cron_expr="0 9 * * mon-sat,sun")
    dispatch(jobs_database)
    compare_new_expressions(jobs_database)
    for schedule in (istanbul, named):
        let_pass(connection, schedule, timedelta(days=1))
    rows(connection, "SELECT lenses.fn_dispatch_scheduled_workflows_safe()")
    assert dispatch(jobs_database) == {"left_to_platform": 1, "dispatched": 1}
    assert [len(runs_of(connection, schedule)) for schedule in (istanbul, named)] == [0, 1]
    assert "left to the platform's own dispatcher" in schedule_row(connection, istanbul)["last_error_message"]
    # Once the platform's dispatches no more, the worker does.
    rows(connection, "UPDATE automation.cron_runs SET started_at = now() - interval '6 minutes'")
    let_pass(connection, istanbul, timedelta(days=1))
    assert dispatch(jobs_database) == {"dispatched": 1}
    assert len(runs_of(connection, istanbul)) == 1
