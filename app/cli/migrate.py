"""`lf-worker migrate`: bring the database at DATABASE_URL up to date."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import psycopg2
import typer

from app.errors import DatabaseError
from app.migrations import migrate as apply_migrations
from app.migrations import pending_migrations, restore_triggers
from app.roles import grant_remembered_roles, grant_role, is_restricted
from app.settings import load_settings


def migrate(
    role: Annotated[
        str, typer.Option(help="Make this role, or give it anew, the rights that a worker needs and no more.")
    ] = "",
) -> None:
    """Apply the migrations of the schema `worker` that DATABASE_URL lacks. Safe to repeat."""
    dsn = load_settings().database_url.get_secret_value()
    if _is_restricted(dsn):
        _check_only(dsn)
        return
    for trigger in restore_triggers(dsn):
        print("restored", trigger)
    applied = apply_migrations(dsn)
    for step in applied:
        print("applied", step)
    print(f"{len(applied)} migrations applied." if applied else "The database is up to date.")
    if role:
        for right in grant_role(dsn, role):
            print("granted", right)
        print(f"Set its password in psql with \\password {role}, and use it in the workers' DATABASE_URL.")
    for granted in grant_remembered_roles(dsn):
        print(f"The role {granted} has what workers of this version need.")


def _is_restricted(dsn: str) -> bool:
    try:
        with closing(psycopg2.connect(dsn, connect_timeout=10)) as session:
            return is_restricted(session)
    except psycopg2.Error:
        return False  # the migration itself says it better


def _check_only(dsn: str) -> None:
    """A release step in the worker's own role can apply nothing, and needs not where nothing is to do."""
    pending = pending_migrations(dsn)
    if pending:
        names = ", ".join(f"{step.number:04d}_{step.name}" for step in pending)
        raise DatabaseError(f"not applied: {names}; run `lf-worker migrate` as the platform's owner first")
    print("The database is up to date.")
