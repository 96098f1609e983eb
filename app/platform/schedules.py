"""Making the runs of workflow schedules that are due, late ones included.

Each schedule has its next slot written down. What is due is what was written down and has passed, so it makes
no difference whether a worker ran at that minute. Each schedule is served in a transaction of its own: one
that can't be read or dispatched keeps no other from running.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import chain, islice, takewhile
from typing import Any

import psycopg2
import structlog

from app.database import Database
from app.errors import DatabaseAway
from app.outages import trouble_of_one
from app.timetable import Timetable

log = structlog.get_logger(__name__)

#: A slot that is found this late was missed, and what becomes of it is for the schedule's policy to say.
#: Deploys and restarts stay below it.
MISSED_AFTER = timedelta(minutes=5)

#: The `queue_policy.onMissed` of schedules whose missed slots are only noted; one run makes up for them else.
SKIP = "skip"

#: Missed slots that are counted.
MAX_COUNTED = 1_000

_Row = dict[str, Any]

_DUE = "SELECT * FROM worker.due_schedules()"


def dispatch_due_schedules(database: Database) -> Counter[str]:
    """Plan new and changed schedules, then serve those that are due; says how many ended in which way."""
    outcomes: Counter[str] = Counter()
    due = database.call(_DUE)
    if unplanned := [row for row in due if row["planned_slot"] is None]:
        for row in unplanned:
            _serve(_plan, database, row)
        due = database.call(_DUE)
    for row in due:
        if row["planned_slot"] is not None and (outcome := _serve(_dispatch, database, row)):
            outcomes[outcome] += 1
    return outcomes


def problem_of(expression: str, timezone: str, now: datetime) -> str | None:
    """Why a schedule is never due; None if it will be."""
    try:
        slot = Timetable.parse(expression, timezone).next_slot(now)
    except ValueError as error:
        return str(error)
    return None if slot else f"'{expression}' is never due: no month has such a day"


def _serve(how: Callable[[Database, _Row], str | None], database: Database, row: _Row) -> str | None:
    try:
        return how(database, row)
    except (psycopg2.Error, DatabaseAway, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else trouble_of_one(error)
        log.error("a schedule can't be served", scheduleId=str(row["schedule_id"]), reason=reason)
        return None


def _plan(database: Database, row: _Row) -> None:
    now, expression, timezone = row["checked_at"], row["cron_expr"], row["timezone"]
    problem = problem_of(expression, timezone, now)
    slot = None
    if problem is None:
        # What was due before a schedule was made, or before it said so, was not missed; this minute counts.
        is_new = now - row["created_at"] < MISSED_AFTER
        after = row["created_at"] if is_new else now.replace(second=0, microsecond=0) - timedelta(seconds=1)
        slot = Timetable.parse(expression, timezone).next_slot(after)
    database.call(
        "SELECT worker.plan_schedule(%s, %s, %s, %s, %s)",
        (row["schedule_id"], expression, timezone, slot, problem),
    )


def _dispatch(database: Database, row: _Row) -> str | None:
    now, planned = row["checked_at"], row["planned_slot"]
    timetable = Timetable.parse(row["cron_expr"], row["timezone"])
    slot = max(planned, timetable.latest_slot(now) or planned)
    is_late = now - slot > MISSED_AFTER
    runs = not is_late or row["on_missed"] != SKIP
    passed = takewhile(lambda earlier: earlier < slot, chain([planned], timetable.slots_after(planned)))
    count = sum(1 for _ in islice(passed, MAX_COUNTED)) + is_late
    missed = _missed(count, planned, slot, runs=runs) if count else None
    outcome: str | None = database.call(
        "SELECT worker.dispatch_slot(%s, %s, %s, %s, %s, %s) AS outcome",
        (row["schedule_id"], planned, slot, timetable.next_slot(now), runs, missed),
    )[0]["outcome"]
    if missed and outcome:
        log.warning("a schedule is late", scheduleId=str(row["schedule_id"]), missed=missed, outcome=outcome)
    return outcome


def _missed(count: int, first: datetime, last: datetime, *, runs: bool) -> str:
    times = "once" if count == 1 else f"{count} times" if count < MAX_COUNTED else f"at least {count} times"
    since = f"at {first:%Y-%m-%d %H:%M}"
    if count > 1:
        since = f"between {first:%Y-%m-%d %H:%M} and {last:%Y-%m-%d %H:%M}"
    then = "one run makes up for it" if runs else "skipped, as its queue_policy.onMissed says"
    return f"missed {times}, {since} UTC: {then}"
