"""The sweep that closes battles: the only thing that does."""

from __future__ import annotations

import structlog

from app.database import database
from app.intervals import timetable_of
from app.platform import battle_moves
from app.settings import settings
from app.sweeps import Missed, sweep

log = structlog.get_logger(__name__)


@sweep(timetable_of(settings().battle_finalize_interval_ms), missed=Missed.CATCH_UP_ONCE)
def finalize_battles() -> None:
    """Close battles whose voting has ended; of those to be judged first, have the judge asked."""
    if closed := battle_moves.close_battles(database()):
        log.info("closed battles", battles=closed)
