"""What was done to the system and when: by this the checks tell what a fault explains from what none does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: What a fault causes may show a little later: a session notices its loss, a job that lost its database waits
#: a second, a machine is busy.
AFTERMATH_SECONDS = 3.0
#: Faults by which a process can lose its database.
OUTAGES = (
    "end sessions",
    "kill endings",
    "serializable",
    "read only",
    "restart postgres",
    "crash postgres",
)
#: Faults by which a process ends, or is taken for dead: what it was at is another one's from then on.
DEATHS = ("kill child", "kill worker", "terminate worker", "freeze worker", "boot refused")


@dataclass
class Fault:
    """Something that went wrong on purpose; times are Unix times.

    `target` is the service that it befell, None where it befell all of them. `hits` counts what it was seen
    to do, where that can be seen.
    """

    name: str
    target: str | None
    began_at: float
    ended_at: float | None = None
    hits: int | None = None

    def explains(self, service: str | None, since: float, until: float) -> bool:
        """Whether it may be why something in that time was cut short or done again."""
        if self.target is not None and service is not None and self.target != service:
            return False
        ended_at = self.ended_at or time.time()
        return self.began_at <= until and ended_at + AFTERMATH_SECONDS >= since


class Ledger:
    """All faults of a run, in order."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    @contextmanager
    def fault(self, name: str, target: str | None = None) -> Iterator[Fault]:
        """Write a fault down that lasts as long as the block."""
        fault = self.begin(name, target)
        try:
            yield fault
        finally:
            fault.ended_at = time.time()

    def begin(self, name: str, target: str | None = None) -> Fault:
        """Write a fault down that lasts until somebody sets its end."""
        fault = Fault(name, target, time.time())
        self.faults.append(fault)
        return fault

    def explain(self, service: str | None, since: float, until: float) -> bool:
        """Whether any fault explains it."""
        return any(fault.explains(service, since, until) for fault in self.faults)

    def death(self, service: str, since: float, until: float) -> str | None:
        """The fault by which a process may have ended that was at something in that time, if any."""
        faults = (fault for fault in self.faults if fault.name in DEATHS)
        return next((fault.name for fault in faults if fault.explains(service, since, until)), None)

    def was_database_away(self, at: float) -> bool:
        """Whether somebody who needs the database may have found it away at that time."""
        return any(fault.name in OUTAGES and fault.explains(None, at, at) for fault in self.faults)

    def counts(self) -> dict[str, int]:
        """How many faults there were, by name."""
        return dict(sorted(Counter(fault.name for fault in self.faults).items()))

    def hits(self) -> dict[str, int]:
        """What faults were seen to do, by name, of those of which it can be seen."""
        seen: Counter[str] = Counter()
        for fault in self.faults:
            if fault.hits is not None:
                seen[fault.name] += fault.hits
        return dict(sorted(seen.items()))
