"""The sweeps around workflows: schedules that are due, automation, and runs that nobody is at any more."""

from __future__ import annotations

import structlog

from app.database import database
from app.identity import worker_id
from app.platform.cron_readings import compare_new_expressions
from app.platform.schedules import dispatch_due_schedules
from app.settings import settings
from app.sweeps import Missed, sweep

log = structlog.get_logger(__name__)

#: Events brought to rules in one transaction, and transactions in one tick.
EVENTS_AT_ONCE = 100
MAX_BATCHES = 50


@sweep("* * * * *", missed=Missed.SKIP)
def dispatch_scheduled_workflows() -> None:
    """Make the runs of schedules that are due, unless the platform's own cron has made them."""
    if not settings().scheduled_workflow_enabled:
        return
    if outcomes := dispatch_due_schedules(database()):
        log.info("served schedules", **outcomes)
    compare_new_expressions(database())


@sweep("* * * * *", missed=Missed.CATCH_UP_ONCE)
def dispatch_automation() -> None:
    """Bring what happened on the platform to the rules that wait for it."""
    if not settings().scheduled_workflow_enabled:
        return
    for _ in range(MAX_BATCHES):
        done = database().call("SELECT worker.fn_run_dispatcher(%s) AS pairs", (EVENTS_AT_ONCE,))[0]["pairs"]
        if done:
            log.info("brought events to rules", pairs=done)
        if done < EVENTS_AT_ONCE:
            break


@sweep("* * * * *", missed=Missed.CATCH_UP_ONCE)
def recover_runs() -> None:
    """Give runs whose worker is gone for good to another, and fail those that kill their workers."""
    configured = settings()
    if not configured.workflow_recovery_enabled:
        return
    stale_ms, most = configured.workflow_stale_after_ms, configured.job_max_deaths
    if configured.scheduled_workflow_enabled:
        for run in database().call(
            "SELECT * FROM worker.recover_workflow_runs(%s, %s, %s)", (worker_id(configured), stale_ms, most)
        ):
            log.warning("stale workflow run", runId=str(run["run_id"]), outcome=run["outcome"])
    if configured.team_run_enabled:
        for team_run in database().call("SELECT * FROM worker.settle_team_runs(%s, %s)", (stale_ms, most)):
            log.warning("stale team run", teamRunId=str(team_run["team_run_id"]), outcome=team_run["outcome"])


@sweep("* * * * *", missed=Missed.CATCH_UP_ONCE)
def tend_waiting_runs() -> None:
    """Keep runs that wait from looking dead, and from waiting in vain for other runs or for their owner."""
    database().call("SELECT worker.touch_waiting_workflow_runs()")
    database().call("SELECT worker.tend_child_runs()")
    database().call("SELECT worker.cancel_orphaned_team_runs()")
    expired = database().call("SELECT worker.expire_pending_approvals() AS runs")[0]["runs"]
    if settings().team_run_enabled:
        expired += database().call("SELECT fn_expire_stale_approvals() AS runs")[0]["runs"]
    if expired:
        log.info("runs waited too long for approval", runs=expired)


@sweep("23 * * * *", missed=Missed.CATCH_UP_ONCE)
def prune_workflow_runs() -> None:
    """Delete what is kept of runs beside the platform's own rows, long after they ended."""
    for _ in range(MAX_BATCHES):
        deleted = database().call(
            """
            SELECT worker.prune_workflow_runs(%(days)s * interval '1 day')
                 + worker.prune_child_runs(%(days)s * interval '1 day') AS rows
            """,
            {"days": settings().retention_days},
        )[0]["rows"]
        if not deleted:
            break
