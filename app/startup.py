"""What every process does first: it reads its settings, sets up logs and alerts, and looks at the schema."""

from __future__ import annotations

import re
import sys
import time
from contextlib import closing
from typing import NoReturn

import psycopg2
import structlog
from psycopg2.extensions import connection

from app import alerts, logs
from app.errors import DatabaseAway, SettingsError
from app.migrations import WORKER, newest_number
from app.outages import telling_outages
from app.sessions import connect
from app.settings import Settings, settings

log = structlog.get_logger(__name__)

#: A database that is away is tried again after this at first, and after twice as long each time.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
#: How often a process that waits for the database says so.
REMINDER_SECONDS = 60.0

#: What only somebody who changes DATABASE_URL or the server can mend. Everything else may pass: a restart, a
#: failover, a name that can't be resolved for a moment, too many connections.
_FOR_GOOD = re.compile(
    r"password authentication failed|no pg_hba\.conf entry|(?:role|database|user) \S+ does not exist"
    r"|certificate|server does not support SSL"
)


def prepare() -> Settings:
    """The settings of a process that is ready to begin; waits while the database is away.

    What can't work ends the process with one line and exit code 2: settings or a database that can't be used,
    a schema that this version doesn't know. A process that only does what is due now doesn't wait.
    """
    try:
        configured = settings()
    except SettingsError as error:
        _refuse(str(error))
    logs.configure(configured.log_level)
    alerts.configure(configured)
    _check_database(configured)
    return configured


def _check_database(configured: Settings) -> None:
    """Look at the schema, as soon as the database lets anybody look."""
    pause_seconds, reminder_at = FIRST_PAUSE_SECONDS, time.monotonic()
    while True:
        try:
            dsn = configured.database_url.get_secret_value()
            with telling_outages(), closing(connect(dsn, "lf-worker boot")) as session:
                _check_schema(session, configured)
            return
        except DatabaseAway as error:
            reason = str(error)
            if configured.worker_once or _FOR_GOOD.search(reason):
                _refuse(f"the database can't be reached: {reason}")
        if time.monotonic() >= reminder_at:
            log.warning("waiting for the database", error=reason)
            reminder_at = time.monotonic() + REMINDER_SECONDS
        time.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)


def _check_schema(session: connection, configured: Settings) -> None:
    with session.cursor() as row:
        try:
            row.execute("SELECT max(number) FROM worker.migrations")
            (found,) = row.fetchone() or (None,)
        except psycopg2.errors.UndefinedTable:
            _refuse("the database has no worker schema; run `lf-worker migrate` first")
        except psycopg2.errors.InsufficientPrivilege:
            _refuse("the role may not read worker.migrations: run `lf-worker migrate`")
        wanted = newest_number(WORKER.folder)
        if (found or 0) < wanted:
            _refuse(
                f"the database's schema is at {found or 0:04d}, this worker wants {wanted:04d}: "
                "run `lf-worker migrate`"
            )
        row.execute("SELECT worker.choose_run_event_transport(%s)", (configured.run_event_transport,))


def _refuse(reason: str) -> NoReturn:
    print(f"lf-worker: {reason}", file=sys.stderr)  # noqa: T201 - logs may not be configured yet
    raise SystemExit(2)
