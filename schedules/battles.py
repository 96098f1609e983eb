"""The sweeps around battle jobs: start battles that are due, and find what was left behind."""

from __future__ import annotations

import structlog

from app.database import database
from app.platform.battle_moves import nudge_battles
from app.sweeps import Missed, sweep

log = structlog.get_logger(__name__)

#: A job that others claimed is taken back after this; ours are known to be alive.
STALE_AFTER_MINUTES = 10


@sweep("* * * * *", missed=Missed.SKIP)
def start_battles() -> None:
    """Start battles between AIs that are due, where the platform's own cron doesn't."""
    started = database().call("SELECT battles.fn_auto_start_battles() AS battles")[0]["battles"]
    if started:
        log.info("started battles", battles=started)


@sweep("* * * * *", missed=Missed.SKIP)
def reclaim_battle_jobs() -> None:
    """Take back jobs whose worker fell silent, then open the voting of battles that wait for nobody."""
    reclaimed = database().call("SELECT worker.fn_reclaim_battle_jobs(%s) AS jobs", (STALE_AFTER_MINUTES,))
    if reclaimed[0]["jobs"]:
        log.warning("reclaimed stale battle jobs", jobs=reclaimed[0]["jobs"])
    if nudged := nudge_battles(database()):
        log.warning("opened stuck voting", battles=nudged)
