"""The `@sweep` decorator: small duties on a timetable, each tick done once.

The scheduler sends every sweep a message a minute. A message is only an occasion: whether a slot of the
timetable is due and not done yet is asked of the database, on its clock. So a second scheduler, a restart,
or a host whose clock is off neither repeat a tick nor lose one. A message that says so has its duty done at
once, whatever the timetable: it is harmless to repeat one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from uuid import UUID

import dramatiq
import structlog
from dramatiq.middleware import CurrentMessage
from periodiq import cron

from app.database import database
from app.errors import DatabaseAway
from app.timetable import Timetable

log = structlog.get_logger(__name__)

#: A slot older than this was missed: the processes or the database were away when it was due.
MISSED_AFTER = timedelta(seconds=90)

#: A sweep whose database went away is tried again after this.
RETRY_MS = 2_000


class Missed(Enum):
    """What becomes of slots that passed while nobody could do them."""

    #: Nothing: the sweep waits for its next slot.
    SKIP = "skip"
    #: One tick makes up for all of them.
    CATCH_UP_ONCE = "catch_up_once"


def sweep(
    timetable: str, *, missed: Missed, queue: str = "sweeps", time_limit_ms: int = 60_000
) -> Callable[[Callable[[], None]], dramatiq.Actor[..., None]]:
    """Make an actor of a duty that is done at each slot of a cron expression (UTC)."""
    slots = Timetable.parse(timetable)

    def decorate(duty: Callable[[], None]) -> dramatiq.Actor[..., None]:
        def tick(*, off_timetable: bool = False) -> None:
            _do_if_due(duty, None if off_timetable else slots, missed)

        tick.__doc__ = duty.__doc__
        return dramatiq.actor(
            tick,
            actor_name=duty.__name__,
            queue_name=queue,
            periodic=cron("* * * * *"),
            time_limit=time_limit_ms,
        )

    return decorate


def _do_if_due(duty: Callable[[], None], slots: Timetable | None, missed: Missed) -> None:
    message = CurrentMessage.get_current_message()
    assert message is not None, "a tick is only done by a worker"
    message_id = UUID(message.message_id)
    try:
        if slots is None:
            duty()
            return
        now = database().call("SELECT now() AS now")[0]["now"]
        slot = slots.latest_slot(now)
        if slot is None or (missed is Missed.SKIP and now - slot > MISSED_AFTER):
            return
        begun = database().call("SELECT worker.begin_tick(%s, %s, %s)", (duty.__name__, slot, message_id))
        if begun[0]["begin_tick"] is None:
            return
        duty()
        database().call("SELECT worker.finish_tick(%s)", (message_id,))
    except DatabaseAway as error:
        log.warning("database went away during a sweep", sweep=duty.__name__, error=str(error))
        raise dramatiq.Retry(delay=RETRY_MS) from None
