"""Write a page to the database, through short outages, and learn whether the run is still ours."""

from __future__ import annotations

from app.database import Database
from app.engine.page import Page
from app.patience import patiently
from app.platform.workflows import RunHold, RunLost, Verdict


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
