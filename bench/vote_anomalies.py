"""What the detection of dishonest votes finds and misses: `python -m bench.vote_anomalies [--json]`.

Battles are simulated (see bench.voting) and inspected as they fill up, the way the worker does it: a voter
counts as flagged if any of the inspections flags them. Two questions are answered for each kind of attack.
By battle: is an attacked battle noticed, and how many of those noticed are attacked, when as many honest
viral battles are among them? By vote: which share of the attackers' votes is flagged, and which share of the
flagged votes is theirs?
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from app.votes import Thresholds, detect
from bench.command import parser, run_and_show
from bench.report import Figures, at_least, at_most, rounded
from bench.voting import Battle, attacked, honest, kinds

#: Inspections of a battle, as shares of its votes.
INSPECTED_AT = (0.25, 0.5, 0.7, 0.85, 1.0)

#: Seeds of the printed table. Thresholds are chosen on others, from TUNING_SEED on.
FIRST_SEED = 1
TUNING_SEED = 500_000

#: Attacks for which the figures have goals; the last kind is reported without.
WITH_GOALS = ("burst", "cluster", "metronome", "slow_drip")


@dataclass
class Found:
    """What came of the battles of one kind."""

    battles: int = 0
    noticed: int = 0
    attackers: int = 0
    flagged: int = 0
    rightly_flagged: int = 0

    def add(self, battle: Battle, flagged: set[UUID]) -> None:
        """Count one battle."""
        self.battles += 1
        self.noticed += bool(flagged)
        self.attackers += len(battle.attackers)
        self.flagged += len(flagged)
        self.rightly_flagged += len(flagged & battle.attackers)


def inspect(battle: Battle, limits: Thresholds) -> set[UUID]:
    """The voters whom any inspection flags."""
    flagged: set[UUID] = set()
    for share in INSPECTED_AT:
        window = battle.votes[: max(1, round(share * len(battle.votes)))]
        flagged.update(voter for signal in detect(window, limits) for voter in signal.voters)
    return flagged


def evaluate(battles: Iterator[Battle]) -> Found:
    """Inspect battles of one kind."""
    found = Found()
    for battle in battles:
        found.add(battle, inspect(battle, Thresholds()))
    return found


def run(count: int, first_seed: int) -> Figures:
    """Inspect so many battles of each kind and report."""
    seeds = range(first_seed, first_seed + count)
    quiet = evaluate(honest(seed, viral=False) for seed in seeds)
    viral = evaluate(honest(seed, viral=True) for seed in seeds)
    return {
        "honest": {
            "battles_each": count,
            "false_positive_rate_quiet": rounded(quiet.noticed / count, 4),
            "false_positive_rate_viral": at_most(viral.noticed / count, 0.01, 4),
        },
        "attacks": [_row(kind, evaluate(attacked(kind, seed) for seed in seeds), viral) for kind in kinds()],
    }


def _row(kind: str, found: Found, viral: Found) -> Figures:
    figures = {
        "battle_recall": found.noticed / found.battles,
        "battle_precision": found.noticed / max(found.noticed + viral.noticed, 1),
        "vote_recall": found.rightly_flagged / max(found.attackers, 1),
        "vote_precision": found.rightly_flagged / max(found.flagged, 1),
    }
    if kind in WITH_GOALS:
        return {"attack": kind, **{name: at_least(value, 0.95, 3) for name, value in figures.items()}}
    return {"attack": kind, **{name: rounded(value, 3) for name, value in figures.items()}}


def main() -> None:
    command = parser(__doc__, quick="few battles: does it work, not how well")
    command.add_argument("--tuning", action="store_true", help="other seeds, for choosing thresholds")
    options = command.parse_args()
    first_seed = TUNING_SEED if options.tuning else FIRST_SEED
    run_and_show(lambda: run(10 if options.quick else 200, first_seed), as_json=options.json)


if __name__ == "__main__":
    main()
