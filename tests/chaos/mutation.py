"""`python -m tests.chaos.mutation`: a short run on the whole worker, and one for each safeguard taken away.

The first must find nothing, each of the others what its safeguard is for; exit code 1 otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

#: Taken away -> the fault that shows it, and the check that finds it.
MUTANTS = {
    "fence": ("freeze_worker", "answers_are_of_the_newest_attempt"),
    "heartbeat": ("kill_realtime", "attempts_end_for_a_reason"),
    "rescue": ("kill_worker", "everything_has_ended"),
    "results": ("kill_realtime", "calls_are_repeated_for_a_reason"),
    "tickets": ("kill_realtime", "everything_has_ended"),
}
SEED = 7
MINUTES = 0.3
DRAIN_SECONDS = 90
#: A mutant that never gets done is not waited for.
MUTANT_DRAIN_SECONDS = 30


def main() -> int:
    """Run all of them, or those that are named."""
    began = time.monotonic()
    wanted = sys.argv[1:] or ["none", *MUTANTS]
    wrong = [line for name in wanted if (line := _complaint(name))]
    print(f"{len(wanted)} runs in {time.monotonic() - began:.0f} s", *wrong, sep="\n")
    return 1 if wrong else 0


def _complaint(name: str) -> str | None:
    if name == "none":
        faults = {fault for fault, _ in MUTANTS.values()}
        failed = _run(*(f"--fault={fault}" for fault in sorted(faults)), f"--drain-seconds={DRAIN_SECONDS}")
        return f"the whole worker fails {failed}" if failed else None
    fault, check = MUTANTS[name]
    failed = _run(f"--mutant={name}", f"--fault={fault}", f"--drain-seconds={MUTANT_DRAIN_SECONDS}")
    return None if check in failed else f"without its {name} it does not fail {check}, only {failed}"


def _run(*arguments: str) -> list[str]:
    """The checks that failed."""
    command = [sys.executable, "-m", "tests.chaos", "--json", f"--minutes={MINUTES}", f"--seed={SEED}"]
    ended = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    summary: dict[str, Any] = json.loads(ended.stdout)
    failed = [invariant["name"] for invariant in summary["invariants"] if not invariant["ok"]]
    print(f"{summary['mutant'] or 'whole'}: {', '.join(failed) or 'all holds'}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
