"""Few large responses at a time in one process, whoever sends them.

Thirty-two threads that each read a response of thirty megabytes, which its parser makes several times as
large, end a process of a gigabyte. A response that grows beyond `SMALL_BYTES` waits for one of a few places,
and keeps it until its call is over, parsed and all.
"""

from __future__ import annotations

import threading

#: What every response may have without a place.
SMALL_BYTES = 512 * 1024
#: Responses that may be larger at the same time.
PLACES = 4

_places = threading.Semaphore(PLACES)


class Share:
    """What one thread has received in one call, and its place if that is much."""

    def __init__(self) -> None:
        self._received_bytes = 0
        self._has_place = False

    def add(self, count_bytes: int, left_seconds: float) -> bool:
        """Count what has come, and wait for a place if that is much; False where none became free in time."""
        self._received_bytes += count_bytes
        if self._received_bytes > SMALL_BYTES and not self._has_place:
            self._has_place = _places.acquire(timeout=max(left_seconds, 0.0))
            return self._has_place
        return True

    def give_back(self) -> bool:
        """The call is over; whether it had a place."""
        had_place, self._has_place = self._has_place, False
        if had_place:
            _places.release()
        return had_place
