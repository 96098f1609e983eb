"""Write a page to the database, through short outages, and learn whether the run is still ours."""

from __future__ import annotations

import psycopg2
import structlog

from app.database import Database
from app.engine.crew import News, ShutdownBegun, Trouble
from app.engine.page import Page
from app.engine.tries import Ended, Try
from app.errors import DatabaseError
from app.patience import patiently
from app.platform.workflows import RunHold, RunLost, Verdict

log = structlog.get_logger(__name__)


def write(database: Database, hold: RunHold, page: Page) -> None:
    """Save a page in one transaction; raises `RunLost` if the run isn't ours, and then nothing is written.

    A connection that breaks just as the transaction ends may leave an event twice in the log, never a
    node's result.
    """
    if not page:
        return
    verdict = patiently(lambda: hold.save(database, page.writes, page.events, page.calls))
    if verdict is not Verdict.OURS:
        raise RunLost(verdict)


def write_late(database: Database, hold: RunHold, told: Ended | News[Try]) -> None:
    """Write down what a try has bought that ended after its run was over for this attempt."""
    if isinstance(told, Trouble | Verdict | ShutdownBegun) or not told.calls:
        return
    try:
        patiently(lambda: hold.note_calls(database, told.calls))
    except (psycopg2.Error, DatabaseError) as error:
        log.warning("late calls were not written down", runId=str(hold.run_id), error=str(error).strip())
