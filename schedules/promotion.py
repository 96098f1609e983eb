"""The sweep that opens drafts of battles by itself."""

from __future__ import annotations

import structlog

from app.database import database
from app.intervals import timetable_of
from app.platform import battle_moves
from app.settings import settings
from app.sweeps import Missed, sweep

log = structlog.get_logger(__name__)


@sweep(timetable_of(settings().battle_auto_promote_interval_ms), missed=Missed.CATCH_UP_ONCE)
def promote_battles() -> None:
    """Open drafts that are to open by themselves, are ready, and whose time has come."""
    if promoted := battle_moves.promote_battles(database()):
        log.info("promoted battles", battles=promoted)
