"""Write a page to the database, however long that takes, and learn whether the run is still ours."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import psycopg2
import structlog

from app.answers import Hand
from app.database import Database
from app.engine.crew import News, ShutdownBegun, Trouble
from app.engine.page import Page
from app.engine.tries import Ended, Try
from app.errors import DatabaseError, PlatformRefused
from app.patience import retry_on_disconnect
from app.platform.run_events import RunEvent
from app.platform.workflows import NodeWrite, RunHold, RunLost, Verdict
from app.refusals import refusal_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class UnwrittenPage:
    """What a page would have written: results of nodes that were paid for, and what tells of them."""

    writes: list[NodeWrite]
    events: list[RunEvent]


def write(database: Database, hold: RunHold, page: Page, hand: Hand) -> PlatformRefused | None:
    """Save a page in one transaction; raises `RunLost` if the run isn't ours, and then nothing is written.

    The page is in hand until it is written. It stays there if the database refuses it for good, and the
    refusal is given: others at work may have bought something too.
    """
    if not page:
        return None
    tries = itertools.count()

    def save() -> Verdict:
        return hold.save(database, page.writes, page.events, page.calls, again=next(tries) > 0)

    try:
        with hand.holding(UnwrittenPage(page.writes, page.events), page.calls):
            verdict = retry_on_disconnect(save, seconds=math.inf)
    except psycopg2.Error as refused:
        return refusal_of(refused, hand.kept())
    if verdict is not Verdict.OURS:
        raise RunLost(verdict)
    return None


def write_kept(database: Database, hold: RunHold, hand: Hand) -> None:
    """Save the pages that an earlier attempt kept, before all else; raises `PlatformRefused` too."""
    pages = hand.take(UnwrittenPage)
    if not pages:
        return
    writes = [row for page in pages for row in page.writes]
    events = [event for page in pages for event in page.events]
    try:
        verdict = retry_on_disconnect(
            lambda: hold.save(database, writes, events, forgets_kept=True, again=True), seconds=math.inf
        )
    except psycopg2.Error as refused:
        raise refusal_of(refused, hand.kept()) from None
    hand.drop(UnwrittenPage)
    if verdict is not Verdict.OURS:
        raise RunLost(verdict)


def write_late(database: Database, hold: RunHold, told: Ended | News[Try]) -> None:
    """Write down what a try has bought that ended after its run was over for this attempt."""
    if isinstance(told, Trouble | Verdict | ShutdownBegun) or not told.calls:
        return
    try:
        retry_on_disconnect(lambda: hold.note_calls(database, told.calls))
    except (psycopg2.Error, DatabaseError) as error:
        log.warning("late calls were not written down", runId=str(hold.run_id), error=str(error).strip())
