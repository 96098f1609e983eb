"""What a worker or scheduler process needs before its actors are imported: logs, alerts and the broker."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import NoReturn

import dramatiq
import psycopg2
from dramatiq.middleware import AgeLimit, Callbacks, CurrentMessage, Retries, ShutdownNotifications, TimeLimit
from periodiq import PeriodiqMiddleware

from app import alerts, logs, telemetry
from app.broker import ENQUEUE_RETRY_SECONDS, LeaseBroker, QueuePolicy
from app.database import connect, database
from app.deadlines import GivesUpOverdueJobs
from app.errors import SettingsError
from app.heartbeat import Heartbeat
from app.interruption import StopsLostWork
from app.limits import LimitKeeper
from app.migrations import WORKER, newest_number
from app.open_claims import open_claims
from app.settings import Settings, settings
from app.shutdown import ShutdownNotices
from app.vacuum import VacuumsOwnTables

#: periodiq's own limit on late messages, out of the way: a sweep asks the database whether it is due.
STALE_TICK_SECONDS = 3_600

#: Short sweeps keep two threads free of long AI calls, and wait behind interactive work for a second.
POLICIES = {
    "lens_runs": QueuePolicy(leave_free=2),
    "battles": QueuePolicy(leave_free=2),
    # Half of the Procfile's threads: endpoints that hang must not take all of them.
    "webhooks": QueuePolicy(max_in_flight=16, leave_free=2),
    # A run's own thread mostly waits; its nodes are on threads of their own.
    "workflow_runs": QueuePolicy(max_in_flight=8, leave_free=2),
    # Likewise: members speak on threads of their own.
    "team_runs": QueuePolicy(max_in_flight=8, leave_free=2),
    # A finished medium is in memory while it is copied.
    "media": QueuePolicy(max_in_flight=4, leave_free=2),
    # One battle's inspections wait for each other at the end, so more threads would only wait too.
    "votes": QueuePolicy(max_in_flight=4),
    "run_events": QueuePolicy(max_in_flight=4),
    "sweeps": QueuePolicy(max_in_flight=4, handicap_ms=1_000),
}


def boot(*, enqueue_retry_seconds: float = ENQUEUE_RETRY_SECONDS) -> LeaseBroker:
    """Set the process's broker up; what can't work ends the process with one line and exit code 2."""
    configured = prepare()
    broker = build_broker(configured, enqueue_retry_seconds=enqueue_retry_seconds)
    dramatiq.set_broker(broker)
    return broker


def prepare() -> Settings:
    """Read the settings, set up logs and alerts, and look whether the database is migrated."""
    try:
        configured = settings()
    except SettingsError as error:
        _refuse(str(error))
    logs.configure(configured.log_level)
    alerts.configure(configured)
    _check_schema(configured)
    return configured


def build_broker(
    configured: Settings, *, enqueue_retry_seconds: float = ENQUEUE_RETRY_SECONDS
) -> LeaseBroker:
    """The broker with everything that surrounds a job; actors are declared on it by whoever needs them."""
    return LeaseBroker(
        database(),
        configured,
        policies=POLICIES,
        enqueue_retry_seconds=enqueue_retry_seconds,
        middleware=[
            AgeLimit(),
            TimeLimit(),
            GivesUpOverdueJobs(configured),
            ShutdownNotifications(),
            Callbacks(),
            # Jobs decide for themselves whether to be tried again, and say so by raising Retry.
            Retries(retry_when=lambda _retries, error: isinstance(error, dramatiq.Retry)),
            CurrentMessage(),
            PeriodiqMiddleware(skip_delay=STALE_TICK_SECONDS),
            Heartbeat(configured),
            LimitKeeper(configured),
            VacuumsOwnTables(configured),
            ShutdownNotices(),
            alerts.FlushAlerts(),
            StopsLostWork(configured),
            telemetry.Telemetry(configured),
            open_claims,
        ],
    )


def _check_schema(configured: Settings) -> None:
    try:
        session = connect(configured.database_url.get_secret_value(), "lf-worker boot")
    except psycopg2.OperationalError as error:
        _refuse(f"the database can't be reached: {str(error).strip().splitlines()[0]}")
    with closing(session), session.cursor() as row:
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
