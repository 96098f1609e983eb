"""The broker of a worker or scheduler process, which it needs before its actors are imported."""

from __future__ import annotations

import dramatiq
from dramatiq.middleware import AgeLimit, Callbacks, CurrentMessage, Retries, ShutdownNotifications
from periodiq import PeriodiqMiddleware

from app import alerts, telemetry
from app.broker import ENQUEUE_RETRY_SECONDS, LeaseBroker, QueuePolicy
from app.database import database
from app.deadlines import GivesUpOverdueJobs, LimitsJobTime
from app.heartbeat import Heartbeat
from app.interruption import StopsLostWork
from app.limits import LimitKeeper
from app.memory_watch import EndsBeforeMemoryDoes
from app.open_claims import open_claims
from app.settings import Settings
from app.shutdown import ShutdownNotices
from app.startup import prepare
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
            LimitsJobTime(),
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
            EndsBeforeMemoryDoes(configured),
            alerts.FlushAlerts(),
            StopsLostWork(configured),
            telemetry.Telemetry(configured),
            open_claims,
        ],
    )
