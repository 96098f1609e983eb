"""The clock of a job's time limit, which stops when its ending begins: that time is not the job's own.

An ending waits for the database. To cut it off at the limit would lose what the job has bought.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class _Clocks(threading.local):
    stops: tuple[Callable[[], None], ...] = ()


_clocks = _Clocks()


def clock_started(stop: Callable[[], None]) -> None:
    """A time limit applies to what this thread does from here on; `stop` lifts it."""
    _clocks.stops = (*_clocks.stops, stop)


def clock_ended() -> None:
    """This thread is through with its message."""
    _clocks.stops = ()


def stop_clock() -> None:
    """Lift every time limit of this thread until its next message."""
    stops, _clocks.stops = _clocks.stops, ()
    for stop in stops:
        stop()
