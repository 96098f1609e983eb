"""What the demo knows about a kind of work, whichever it is: a module for each kind offers a `Scenario`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from psycopg2.extensions import connection

from app.local.provider_server import ProviderServer
from app.local.stack import Stack


@dataclass(frozen=True)
class Tally:
    """How far one case of a kind of work is.

    `outcome` says in a few words what came out. `surprises` says, a line each, what did not end as it should
    have; `pickups_ms` is the time from each row's creation to its first claim.
    """

    label: str
    outcome: str = ""
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    surprises: tuple[str, ...] = ()
    pickups_ms: tuple[float, ...] = ()

    @property
    def total(self) -> int:
        """All jobs of this case."""
        return self.queued + self.running + self.ended

    @property
    def ended(self) -> int:
        """The jobs that came to an end, whatever it was."""
        return self.succeeded + self.failed

    def __add__(self, other: Tally) -> Tally:
        return replace(
            self,
            queued=self.queued + other.queued,
            running=self.running + other.running,
            succeeded=self.succeeded + other.succeeded,
            failed=self.failed + other.failed,
            surprises=self.surprises + other.surprises,
            pickups_ms=self.pickups_ms + other.pickups_ms,
        )


class Scenario(Protocol):
    """One kind of work in the demo."""

    #: The kind's name in the JSON summary.
    kind: str
    #: Its heading, and what is done, in a sentence each.
    title: str
    story: str

    def queue(self, session: connection, providers: ProviderServer) -> None:
        """Put the jobs of every case into the database, and tell the providers how to behave."""

    def poll(self, session: connection) -> Sequence[Tally]:
        """How far each case is, in the order to show them."""


@runtime_checkable
class Accident(Scenario, Protocol):
    """A kind of trouble in the demo: it happens to the processes themselves."""

    def meet(self, stack: Stack) -> None:
        """Learn which processes are running."""


@dataclass
class Summary:
    """What the demo came to: the newest tallies by kind, and whether it was cut short.

    `seconds` is how long each kind took from being queued to its end; `commands` what further commands said
    of the demo's database, by their names.
    """

    tallies: dict[str, Sequence[Tally]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    commands: dict[str, Any] = field(default_factory=dict)
    trouble: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether every job came to an end."""
        return all(tally.ended == tally.total for tally in self._all())

    @property
    def surprises(self) -> list[str]:
        """Everything that did not end as it should have."""
        return [f"{tally.label}: {line}" for tally in self._all() for line in tally.surprises]

    @property
    def unfinished(self) -> list[str]:
        """What has not come to its end, with its kind and how far it is."""
        return [
            f"{kind} ({tally.label}: {tally.queued} waiting, {tally.running} running)"
            for kind, rows in self.tallies.items()
            for tally in rows
            if tally.ended < tally.total
        ]

    @property
    def faults(self) -> list[str]:
        """Everything that is not well, a line each."""
        return [*self.surprises, *([self.trouble] if self.trouble else [])]

    @property
    def ok(self) -> bool:
        """Whether there was something to do, and all of it reached its expected end."""
        return bool(self._all()) and self.has_ended and not self.surprises and self.trouble is None

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        kinds = {
            kind: _figures(rows) | {"seconds": round(self.seconds.get(kind, 0.0), 2)}
            for kind, rows in self.tallies.items()
        }
        return {"kinds": kinds, "commands": self.commands, "trouble": self.trouble, "ok": self.ok}

    def _all(self) -> list[Tally]:
        return [tally for rows in self.tallies.values() for tally in rows]


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The nearest-rank percentile, or None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def merged(tallies: Iterable[Tally]) -> list[Tally]:
    """The tallies with those of one label and outcome as one, in the order of their first ones."""
    found: dict[tuple[str, str], Tally] = {}
    for tally in tallies:
        name = (tally.label, tally.outcome)
        found[name] = found[name] + tally if name in found else tally
    return list(found.values())


def _figures(rows: Sequence[Tally]) -> dict[str, Any]:
    pickups = [ms for tally in rows for ms in tally.pickups_ms]
    p50, p99 = percentile(pickups, 50), percentile(pickups, 99)
    return {
        "queued": sum(tally.total for tally in rows),
        "succeeded": sum(tally.succeeded for tally in rows),
        "failed": sum(tally.failed for tally in rows),
        "pickup_ms": {
            "p50": None if p50 is None else round(p50, 1),
            "p99": None if p99 is None else round(p99, 1),
        },
        "cases": [
            {
                "case": tally.label,
                "outcome": tally.outcome,
                "succeeded": tally.succeeded,
                "failed": tally.failed,
                "surprises": list(tally.surprises),
            }
            for tally in rows
        ],
    }
