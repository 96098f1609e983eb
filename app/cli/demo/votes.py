"""Votes in the demo: honest and rigged ones, and what was flagged and why."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg2.extensions import connection

from app.cli.demo.scenario import Tally
from app.local.provider_server import ProviderServer
from app.local.votes import Ballot, cast, open_vote

#: Share of an attack's votes that has to be flagged, and of honest votes that may be flagged with them.
ENOUGH_FLAGGED, TOO_MANY_HONEST = 0.95, 0.05

_FIND = """
    SELECT i.inspected_at, coalesce(i.votes_seen, 0),
           array(SELECT DISTINCT a.voter_lenser_id::text FROM audit.vote_anomalies a
                 WHERE a.battle_id = b.id),
           (SELECT jsonb_build_object('signal', t.detail, 'score', t.score, 'evidence', t.evidence)
            FROM worker.vote_actions t WHERE t.battle_id = b.id AND t.action = 'flag'
            ORDER BY t.score DESC, t.detail LIMIT 1),
           EXISTS (SELECT FROM worker.held_battles h WHERE h.battle_id = b.id)
    FROM battles.battles b LEFT JOIN worker.vote_inspections i ON i.battle_id = b.id
    WHERE b.id = %s
"""


class _Seen(NamedTuple):
    inspected_at: datetime | None
    votes_seen: int
    flagged: list[str]
    reason: dict[str, Any] | None
    is_held: bool


@dataclass
class _Case:
    """A battle's votes; `expected` is the signal that its rigged ones are to be flagged for."""

    label: str
    rigged: Sequence[Ballot] = ()
    expected: str | None = None
    battle: UUID | None = None
    cast_at: datetime | None = None
    votes: int = 0
    attackers: frozenset[str] = field(default_factory=frozenset)


class VoteInspections:
    """One inspection for each case, from the vote through the realtime process to the flag."""

    kind = "vote_inspection"
    title = "Votes that are inspected"
    story = "150 honest votes a battle, rigged ones in three: who is flagged, and why?"

    def __init__(self) -> None:
        dice = random.Random(2)  # noqa: S311 - made-up voters
        self._honest = [_honest(dice) for _ in range(150)]
        self._cases = [
            _Case("honest votes only"),
            _Case(
                "80 more within one minute", [_hired(dice.uniform(30, 90)) for _ in range(80)], "burst_voting"
            ),
            _Case("30 more from one address", [_neighbour(dice) for _ in range(30)], "shared_address"),
            _Case(
                "59 more, one every 45 s",
                [_hired(45.0 * n + dice.gauss(0, 0.4)) for n in range(1, 60)],
                "regular_timing",
            ),
        ]

    def queue(self, session: connection, _providers: ProviderServer) -> None:
        """Open a vote for each case and cast all its votes at once."""
        for case in self._cases:
            case.battle = open_vote(session, case.label)
            voters = cast(session, case.battle, [*self._honest, *case.rigged])
            case.votes = len(voters)
            case.attackers = frozenset(str(voter) for voter in voters[len(self._honest) :])
            with session.cursor() as row:
                row.execute("SELECT clock_timestamp()")
                (case.cast_at,) = row.fetchone() or (None,)

    def poll(self, session: connection) -> Sequence[Tally]:
        """Whether each battle was inspected, and what was found."""
        return [self._tally(session, case) for case in self._cases if case.battle is not None]

    def _tally(self, session: connection, case: _Case) -> Tally:
        with session.cursor() as row:
            row.execute(_FIND, (str(case.battle),))
            seen = _Seen._make(row.fetchone() or ())
        if seen.inspected_at is None or seen.votes_seen < case.votes or case.cast_at is None:
            return Tally(case.label, "waiting", queued=1)
        pickup_ms = max((seen.inspected_at - case.cast_at).total_seconds() * 1000, 0.0)
        return Tally(
            case.label,
            _findings(case, seen),
            succeeded=1,
            surprises=tuple(_surprises(case, seen)),
            pickups_ms=(pickup_ms,),
        )


def _findings(case: _Case, seen: _Seen) -> str:
    """What was flagged and why, in a few words."""
    if seen.reason is None:
        return "nobody flagged"
    rigged = len(case.attackers & set(seen.flagged))
    honest = len(seen.flagged) - rigged
    and_honest = f" +{honest} honest" if honest else ""
    held = ", held" if seen.is_held else ""
    return f"{seen.reason['signal']}: {rigged} of {len(case.attackers)}{and_honest}{held}"


def _surprises(case: _Case, seen: _Seen) -> list[str]:
    flagged = set(seen.flagged)
    found = seen.reason["signal"] if seen.reason else None
    problems = []
    if found != case.expected:
        problems.append(f"found {found} instead of {case.expected}")
    if len(flagged & case.attackers) < ENOUGH_FLAGGED * len(case.attackers):
        problems.append(f"only {len(flagged & case.attackers)} of {len(case.attackers)} attackers flagged")
    if len(flagged - case.attackers) > TOO_MANY_HONEST * len(flagged):
        problems.append(f"{len(flagged - case.attackers)} honest voters flagged")
    return problems


def _honest(dice: random.Random) -> Ballot:
    address = f"10.{dice.randrange(200)}.{dice.randrange(200)}.{dice.randrange(1, 200)}"
    choice = dice.choice(["contender_a", "contender_b"])
    return Ballot(choice, dice.uniform(0, 36_000), known=dice.random() < 0.7, address=address)


def _hired(seconds_ago: float) -> Ballot:
    return Ballot("contender_b", seconds_ago, 3 * 86_400.0, known=False)


def _neighbour(dice: random.Random) -> Ballot:
    return Ballot("contender_b", dice.uniform(0, 30_000), known=dice.random() < 0.5, address="192.0.2.7")
