"""Checks of workflow schedules: can each be due, do all who dispatch read it alike, is any left waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.cli.doctor.finding import Finding, Level, Patient
from app.platform.cron_readings import CRON_FIELDS, PlatformReading, differences
from app.platform.schedules import MISSED_AFTER, problem_of

#: Pairs of expression and time zone that are looked at, and findings that are listed.
MAX_EXPRESSIONS = 500
MAX_LISTED = 20

_UNSCHEDULE = "SELECT cron.unschedule('dispatch-scheduled-workflows')"


def check_schedules(patient: Patient) -> Iterator[Finding]:
    """Every active schedule can be due, and means the same to the platform's own dispatcher."""
    rows = patient.rows(
        """
        SELECT s.cron_expr, s.timezone, min(s.id::text) AS one, count(*) AS schedules, now() AS now
        FROM lenses.workflow_schedules s WHERE s.is_active GROUP BY 1, 2 ORDER BY 1, 2 LIMIT %s
        """,
        (MAX_EXPRESSIONS,),
    )
    is_shared = bool(patient.value("SELECT worker.fn_platform_dispatches()"))
    findings = [finding for row in rows for finding in _look_at(patient, row, is_shared=is_shared)]
    yield from findings[:MAX_LISTED]
    if len(findings) > MAX_LISTED:
        more = f"{len(findings) - MAX_LISTED} more like these"
        yield Finding("schedules", Level.WARNING, more, "as above", "as above")
    if not findings:
        total = sum(row["schedules"] for row in rows)
        yield Finding("schedules", Level.FINE, f"{total} active, each is due at some time")


def check_overdue_schedules(patient: Patient) -> Iterator[Finding]:
    """No schedule has waited for its run for long."""
    if not patient.settings.scheduled_workflow_enabled:
        yield Finding("overdue schedules", Level.FINE, "not ours: scheduled workflows are off")
        return
    overdue = patient.rows(
        """
        SELECT count(*) AS schedules, extract(epoch FROM now() - min(p.next_slot)) / 60 AS minutes
        FROM worker.schedule_plans p JOIN lenses.workflow_schedules s ON s.id = p.schedule_id
        WHERE s.is_active AND p.next_slot < now() - %s
        """,
        (MISSED_AFTER,),
    )[0]
    if not overdue["schedules"]:
        yield Finding("overdue schedules", Level.FINE, "none")
        return
    yield Finding(
        "overdue schedules",
        Level.WARNING,
        f"{overdue['schedules']} have waited for up to {overdue['minutes']:.0f} min",
        "no worker or scheduler runs, the queue is frozen, the kill switch is on, or they can't be served;"
        " each runs once when that is over, or is noted as missed",
        "lf-worker status; look for `a schedule can't be served` in the logs of the workers",
    )


def _look_at(patient: Patient, row: dict[str, Any], *, is_shared: bool) -> Iterator[Finding]:
    others = f" and {row['schedules'] - 1} more" if row["schedules"] > 1 else ""
    name = f"{row['one']}{others}, '{row['cron_expr']}' in {row['timezone']}"
    if problem := problem_of(row["cron_expr"], row["timezone"], row["now"]):
        yield Finding(
            "schedules",
            Level.WARNING,
            f"{name}: {problem}",
            "it never runs",
            "have its owner correct the expression or the time zone",
        )
        return
    theirs = PlatformReading.of(patient.rows(CRON_FIELDS, (row["cron_expr"],)))
    difference, has_surplus = differences(row["cron_expr"], row["timezone"], theirs, row["now"])
    if difference:
        yield Finding(
            "schedules",
            Level.WARNING,
            f"{name}: {difference}",
            "it runs at other times when the platform's own cron dispatches it",
            f"write it with numbers, lists and ranges only, or have the worker alone dispatch: {_UNSCHEDULE}",
        )
    elif has_surplus and is_shared:
        yield Finding(
            "schedules",
            Level.WARNING,
            f"{name}: left to the platform's own dispatcher, which runs besides the worker",
            "the platform ignores time zones, and would run it a second time",
            _UNSCHEDULE,
        )
