"""When a process that ended by itself is started again."""

from __future__ import annotations

from dataclasses import dataclass

#: Pause before the first new start; it doubles with each start that was no use.
FIRST_PAUSE_SECONDS = 1.0

LONGEST_PAUSE_SECONDS = 30.0

#: A process that ran for this long had started well.
STARTED_WELL_SECONDS = 10.0

#: After so many starts in a row that were no use somebody has to look.
ALARMING_STARTS = 5


@dataclass
class Restarts:
    """Counts the starts of one process that were no use, in a row."""

    fruitless: int = 0

    @property
    def is_alarming(self) -> bool:
        """Whether this is the start after which somebody should be told."""
        return self.fruitless == ALARMING_STARTS

    def pause_seconds(self, ran_seconds: float) -> float:
        """How long to wait after a run of that length before the next start."""
        self.fruitless = 0 if ran_seconds >= STARTED_WELL_SECONDS else self.fruitless + 1
        doublings = min(max(self.fruitless - 1, 0), 10)
        return float(min(FIRST_PAUSE_SECONDS * 2**doublings, LONGEST_PAUSE_SECONDS))
