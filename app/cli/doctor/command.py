"""`lf-worker doctor`: is it healthy, what is wrong, and which command mends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import psycopg2
import typer
from rich.console import Console
from rich.markup import escape

from app.cli.doctor import (
    accounts,
    battles,
    budgets,
    connection,
    content,
    functions,
    prices,
    realtime,
    schedules,
    schema,
    unclaimed,
    votes,
    work,
)
from app.cli.doctor.finding import Check, Finding, Level, Patient
from app.cli.doctor.plans import check as plans
from app.cli.doctor.plans import values
from app.cli.sessions import find_dsn
from app.errors import DatabaseAway, DatabaseError
from app.sessions import connect
from app.settings import load_settings

#: What must hold before the rest can be looked at.
FIRST: tuple[Check, ...] = (
    connection.check_server,
    connection.check_role,
    connection.check_pooler,
    connection.check_tls,
    connection.check_clock,
    schema.check_migrations,
)
THEN: tuple[Check, ...] = (
    schema.check_triggers,
    schema.check_tables,
    schema.check_vacuum,
    schema.check_publication,
    functions.check_functions,
    functions.check_shadows,
    plans.check_statements,
    values.check_values,
    plans.check_platform_code,
    connection.check_budget,
    work.check_workers,
    work.check_heartbeats,
    work.check_scheduler,
    schedules.check_schedules,
    schedules.check_overdue_schedules,
    work.check_queues,
    work.check_orphans,
    unclaimed.check_unclaimed,
    battles.check_battles,
    work.check_dead_letters,
    prices.check_prices,
    work.check_shared_table,
    budgets.check_budgets,
    realtime.check_realtime,
    content.check_keys,
    accounts.check_accounts,
    content.check_telemetry,
    content.check_sandbox,
    content.check_templates,
    votes.check_addresses,
    votes.check_holds,
)

_MARKS = {Level.FINE: "[green]✓[/]", Level.WARNING: "[yellow]![/]", Level.BROKEN: "[red]✗[/]"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Ask each provider whether it accepts the platform's key.")
    ] = False,
) -> None:
    """Look at everything the worker depends on; exit code 0 fine, 1 warnings, 2 broken."""
    findings = list(examine(online=online))
    worst = max((finding.level for finding in findings), default=Level.FINE)
    if as_json:
        print(json.dumps({"level": worst.name.lower(), "findings": [f.as_json() for f in findings]}))
    else:
        for finding in findings:
            _print(Console(highlight=False, emoji=False), finding)
    sys.exit(int(worst))


def examine(*, online: bool = False) -> Iterator[Finding]:
    """Every finding; those of a database that lacks our schema end early."""
    dsn = find_dsn()
    settings = load_settings(DATABASE_URL=dsn)
    try:
        session = connect(dsn, "lf-worker doctor")
    except DatabaseAway as error:
        raise DatabaseError(f"can't connect to the database: {error}") from None
    with closing(session):
        patient = Patient(session, settings, online)
        first = [finding for check in FIRST for finding in _look(check, patient)]
        yield from first
        if any(finding.level is Level.BROKEN for finding in first):
            return
        for check in THEN:
            yield from _look(check, patient)


def _look(check: Check, patient: Patient) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except psycopg2.errors.InsufficientPrivilege as error:
        area = check.__name__.removeprefix("check_").replace("_", " ")
        if patient.is_restricted:
            yield Finding(area, Level.FINE, "not looked at: only the platform's owner can")
            return
        yield Finding(
            area,
            Level.BROKEN,
            f"can't be looked at: {str(error).splitlines()[0]}",
            "the worker's role lacks a right that the worker needs",
            "connect as the owner of the platform's tables (Supabase: postgres)",
        )


def _print(console: Console, finding: Finding) -> None:
    console.print(f"{_MARKS[finding.level]} [bold]{finding.area}[/]: {escape(finding.what)}", soft_wrap=True)
    if finding.why:
        console.print(f"    why it matters: {escape(finding.why)}", soft_wrap=True)
        console.print(f"    to mend it: {escape(finding.mend)}", soft_wrap=True)
