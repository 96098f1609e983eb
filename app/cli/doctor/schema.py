"""Checks of what the worker finds in the database: its own schema, its triggers, its rights."""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.doctor.finding import Finding, Level, Patient
from app.errors import DatabaseError
from app.migrations import WORKER, pending_steps, read_steps
from app.phoenix.subscription import BINDINGS
from app.statements import touched_tables
from app.vacuum import MAY_VACUUM

_MIGRATE = "lf-worker migrate"

#: Tables whose changes the platform's own pages follow while the worker writes to them.
PUBLISHED = ("lenses.workflow_runs", "lenses.workflow_node_results")


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


def check_tables(patient: Patient) -> Iterator[Finding]:
    """The role may read and write what the worker's statements do."""
    if patient.is_restricted:
        yield Finding("tables", Level.FINE, "closed to this role; our functions use them as their owner")
        return
    needed = touched_tables()
    refused = patient.rows(
        """
        SELECT need.name, string_agg(need.privilege, ', ' ORDER BY need.privilege) AS privileges
        FROM unnest(%s::text[], %s::text[]) AS need (name, privilege)
        WHERE to_regclass(need.name) IS NOT NULL
          AND NOT has_table_privilege(to_regclass(need.name), need.privilege)
        GROUP BY need.name ORDER BY need.name
        """,
        ([table for table, _ in needed], [privilege for _, privilege in needed]),
    )
    role = patient.value("SELECT quote_ident(current_user)")
    for row in refused:
        yield Finding(
            "tables",
            Level.BROKEN,
            f"no right to {row['privileges']} on {row['name']}",
            "statements that need it fail, and with them their jobs",
            f"GRANT {row['privileges']} ON {row['name']} TO {role}",
        )
    if not refused:
        yield Finding("tables", Level.FINE, f"{len({table for table, _ in needed})} may be used as needed")


def check_vacuum(patient: Patient) -> Iterator[Finding]:
    """Says who removes dead rows of our own tables."""
    if not patient.settings.vacuum_dead_rows:
        yield Finding("vacuum", Level.FINE, "left to autovacuum, as it is set")
    elif patient.value(MAY_VACUUM):
        yield Finding("vacuum", Level.FINE, "workers vacuum their own tables")
    else:
        yield Finding("vacuum", Level.FINE, "left to autovacuum: only the owner of the worker's tables may")


def check_publication(patient: Patient) -> Iterator[Finding]:
    """Supabase Realtime is told of the tables that the realtime process, and people, listen to."""
    unpublished = patient.rows(
        """
        SELECT name FROM unnest(%s::text[]) AS name
        WHERE to_regclass(name) IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_publication_tables t
            WHERE t.pubname = 'supabase_realtime' AND t.schemaname || '.' || t.tablename = name)
        """,
        ([*PUBLISHED, *(f"{binding.schema}.{binding.table}" for binding in BINDINGS)],),
    )
    for row in unpublished:
        yield Finding(
            "publication",
            Level.WARNING,
            f"{row['name']} is not in the publication supabase_realtime",
            "nobody who listens through Supabase Realtime hears of its changes",
            f"ALTER PUBLICATION supabase_realtime ADD TABLE {row['name']}",
        )
    if not unpublished:
        yield Finding("publication", Level.FINE, "supabase_realtime has the tables that are listened to")
