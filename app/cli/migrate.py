"""`lf-worker migrate`: bring the database at DATABASE_URL up to date."""

from __future__ import annotations

from app.migrations import migrate as apply_migrations
from app.migrations import restore_triggers
from app.settings import load_settings


def migrate() -> None:
    """Apply the migrations of the schema `worker` that DATABASE_URL lacks. Safe to repeat."""
    dsn = load_settings().database_url.get_secret_value()
    for trigger in restore_triggers(dsn):
        print("restored", trigger)
    applied = apply_migrations(dsn)
    for step in applied:
        print("applied", step)
    print(f"{len(applied)} migrations applied." if applied else "The database is up to date.")
