"""Checks of what the worker finds in the database: its own schema, its triggers, the platform's functions."""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.doctor.calls import called_functions
from app.cli.doctor.finding import Finding, Level, Patient
from app.errors import DatabaseError
from app.migrations import WORKER, pending_steps, read_steps

_MIGRATE = "lf-worker migrate"


def check_migrations(patient: Patient) -> Iterator[Finding]:
    """Every migration of this version is applied, and none of a newer one."""
    if patient.value("SELECT to_regclass('worker.migrations')") is None:
        yield Finding(
            "migrations", Level.BROKEN, "none applied", "there is no queue to take work from", _MIGRATE
        )
        return
    recorded = {
        row["number"]: row["checksum"]
        for row in patient.rows("SELECT number, checksum FROM worker.migrations")
    }
    try:
        pending = pending_steps(WORKER, read_steps(WORKER.folder), recorded)
    except DatabaseError as error:
        yield Finding(
            "migrations", Level.BROKEN, str(error), "code and schema differ", "deploy the newer code"
        )
        return
    if pending:
        names = ", ".join(f"{step.number:04d}_{step.name}" for step in pending)
        yield Finding("migrations", Level.BROKEN, f"not applied: {names}", "code and schema differ", _MIGRATE)
    else:
        yield Finding("migrations", Level.FINE, f"{len(recorded)} applied")


def check_triggers(patient: Patient) -> Iterator[Finding]:
    """Our triggers on the platform's tables are there and on."""
    lost = patient.rows("SELECT relation, name, is_there FROM worker.lost_triggers()")
    for row in lost:
        yield Finding(
            "triggers",
            Level.BROKEN,
            f"{row['name']} on {row['relation']} is {'switched off' if row['is_there'] else 'missing'}",
            "work waits for the sweep, up to a minute, instead of beginning at once",
            _MIGRATE,
        )
    if not lost:
        yield Finding("triggers", Level.FINE, "all installed")


def check_functions(patient: Patient) -> Iterator[Finding]:
    """The platform's functions that the worker calls exist with the arguments it passes."""
    missing = patient.rows(
        """
        SELECT name FROM unnest(%s::text[]) AS name
        WHERE NOT EXISTS (
            SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname || '.' || p.proname = name
               OR (p.proname = name AND n.nspname IN ('worker', 'public')))
        """,
        (sorted(called_functions()),),
    )
    for row in missing:
        yield Finding(
            "functions",
            Level.BROKEN,
            f"{row['name']} is missing",
            "the worker calls it; jobs that need it fail",
            "bring the platform's migrations up to date",
        )
    shadows = patient.rows(
        """
        SELECT DISTINCT p.proname FROM pg_proc p
        JOIN pg_proc o ON o.proname = p.proname AND o.proargtypes = p.proargtypes
        WHERE p.pronamespace = 'worker'::regnamespace AND o.pronamespace = 'public'::regnamespace
        """
    )
    names = ", ".join(sorted(row["proname"] for row in shadows)) or "none"
    if not missing:
        yield Finding("functions", Level.FINE, f"all there; replaced by the worker's own: {names}")
