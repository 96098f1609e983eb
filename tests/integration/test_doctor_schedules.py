"""`lf-worker doctor` names the schedules that never run, run at other times, or have waited for long."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812

from app.cli.doctor.command import examine
from app.cli.doctor.finding import Finding, Level
from app.cli.doctor.schedules import MAX_LISTED
from app.database import Database
from app.local.platform import Seeded
from app.local.workflows import make_schedule, make_workflow
from tests.integration.schedule_rows import dispatch, let_pass
from tests.integration.workflow_rows import rows

ENABLED = pytest.mark.environment(PLATFORM_API_SCHEDULED_WORKFLOW_WORKER_ENABLED="true")


@pytest.fixture
def workflow_id(connection: Connection, seeded: Seeded) -> UUID:
    return make_workflow(connection).workflow_id


def found(area: str) -> list[Finding]:
    return [finding for finding in examine() if finding.area == area]


def test_schedules_that_are_read_alike_are_fine(connection: Connection, workflow_id: UUID) -> None:
    for expression in ("* * * * *", "0 9 * * 1-5"):
        make_schedule(connection, workflow_id, cron_expr=expression)
    make_schedule(connection, workflow_id, cron_expr="0 9 * * *", timezone="Europe/Istanbul")
    make_schedule(connection, workflow_id, cron_expr="never", is_active=False)
    (finding,) = found("schedules")
    assert (finding.level, finding.what) == (Level.FINE, "3 active, each is due at some time")


@pytest.mark.parametrize(
    ("expression", "zone", "what"),
    [
        ("0 0 30 2 *", "UTC", "'0 0 30 2 *' is never due: no month has such a day"),
        ("99 * * * *", "UTC", "no minute that can be read in '99 * * * *'"),
        ("0 9 * * *", "Europe/Atlantis", "there is no time zone 'Europe/Atlantis'"),
        (
            "0 0 13 * 5",
            "UTC",
            "the platform's own dispatcher reads the expression differently: it leaves out 20",
        ),
        ("@daily", "UTC", "the platform's own dispatcher reads the expression differently: it leaves out 20"),
        ("0 0 */2 * *", "UTC", "it adds 20"),
    ],
)
def test_a_schedule_that_never_runs_or_is_read_in_two_ways_is_named(
    connection: Connection, workflow_id: UUID, expression: str, zone: str, what: str
) -> None:
    schedule = make_schedule(connection, workflow_id, cron_expr=expression, timezone=zone)
    make_schedule(connection, workflow_id)
    (finding,) = found("schedules")
    assert finding.level is Level.WARNING
    assert finding.what.startswith(f"{schedule}, '{expression}' in {zone}: ")
    assert what in finding.what
    assert finding.why
    assert finding.mend


def test_a_zone_is_named_where_the_platforms_dispatcher_runs_besides(
    connection: Connection, workflow_id: UUID
) -> None:
    for _ in range(2):
        make_schedule(connection, workflow_id, cron_expr="0 9 * * *", timezone="Europe/Istanbul")
    rows(connection, "SELECT lenses.fn_dispatch_scheduled_workflows_safe()")
    (finding,) = found("schedules")
    assert "and 1 more, '0 9 * * *' in Europe/Istanbul: left to the platform's own dispatcher" in finding.what
    assert finding.mend == "SELECT cron.unschedule('dispatch-scheduled-workflows')"


def test_only_so_many_are_listed(connection: Connection, workflow_id: UUID) -> None:
    for minute in range(60, 62 + MAX_LISTED):
        make_schedule(connection, workflow_id, cron_expr=f"{minute} * * * *")
    findings = found("schedules")
    assert len(findings) == MAX_LISTED + 1
    assert findings[-1].what == "2 more like these"


@ENABLED
def test_a_schedule_that_has_waited_for_long_is_named(
    jobs_database: Database, connection: Connection, workflow_id: UUID
) -> None:
    schedule = make_schedule(connection, workflow_id, cron_expr="0 0 1 1 *")
    dispatch(jobs_database)
    assert [finding.level for finding in found("overdue schedules")] == [Level.FINE]
    rows(connection, "UPDATE worker.schedule_plans SET next_slot = now()")
    let_pass(connection, schedule, timedelta(minutes=30))
    (finding,) = found("overdue schedules")
    assert (finding.level, finding.what) == (Level.WARNING, "1 have waited for up to 30 min")


def test_where_schedules_are_not_ours_none_is_overdue(connection: Connection, workflow_id: UUID) -> None:
    (finding,) = found("overdue schedules")
    assert finding.what == "not ours: scheduled workflows are off"
