"""Vote inspections: look at a battle's newest votes, and act on those that are not honest."""

from __future__ import annotations

from uuid import UUID

import dramatiq
import structlog
from dramatiq.middleware import CurrentMessage

from app import alerts
from app.backoff import backoff_ms
from app.database import database
from app.errors import DatabaseAway
from app.platform.votes import finish_inspection, platform_reasons, read_window
from app.settings import settings
from app.votes import Thresholds, decide, detect

log = structlog.get_logger(__name__)

TIME_LIMIT_MS = 60_000

#: An inspection that failed this often is left to the catch-up, which wants another one a minute later.
MAX_RETRIES = 5


@dramatiq.actor(queue_name="votes", time_limit=TIME_LIMIT_MS)
def inspect_votes(battle_id: str) -> None:
    """Look at a battle's votes once; harmless to repeat, because each action is taken once only."""
    battle = UUID(battle_id)
    try:
        _inspect(battle)
    except DatabaseAway as error:
        log.warning("database went away during an inspection", error=str(error))
        raise dramatiq.Retry(delay=_pause_ms(1)) from None
    except Exception as error:
        log.exception("an inspection of votes failed", battleId=battle_id)
        alerts.unexpected(error)
        errors = _errors_before() + 1
        if errors > MAX_RETRIES:
            raise
        raise dramatiq.Retry(delay=_pause_ms(errors)) from None


def _inspect(battle_id: UUID) -> None:
    limits = Thresholds()
    window = read_window(database(), battle_id)
    signals = detect(window.votes, limits)
    reasons = platform_reasons(database(), battle_id) if signals else {}
    taken = finish_inspection(database(), window, decide(battle_id, signals, reasons, limits))
    refused = {row["error"] for row in taken if row["error"]}
    if refused:
        log.error("the platform refused to act on votes", battleId=str(battle_id), reasons=sorted(refused))
    if taken:
        log.warning(
            "votes were doubted",
            battleId=str(battle_id),
            signals={signal.type: round(signal.score, 3) for signal in reversed(signals)},
            voters=len({row["subject"] for row in taken if row["action"] == "flag"}),
            held=any(row["action"] == "hold" for row in taken),
        )


def _errors_before() -> int:
    message = CurrentMessage.get_current_message()
    return int(message.options.get("retries", 0)) if message is not None else 0


def _pause_ms(errors: int) -> int:
    return backoff_ms(errors, min_ms=settings().retry_min_backoff_ms, max_ms=settings().retry_max_backoff_ms)
