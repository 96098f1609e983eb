"""`python -m tests.chaos`: a run of chaos, and what held; exit code 1 when something did not."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

from app.local.postgres import default_test_directory
from tests.chaos.faults import FAULTS
from tests.chaos.run import DRAIN_SECONDS, Plan, run
from tests.chaos.summary import summarise

MUTANTS = Path(__file__).parent / "mutants"
#: Where the logs of a run that went wrong are kept, in the folder it is started in.
LOG_FOLDER = Path(".lf-worker") / "chaos-logs"


def main() -> int:
    options = _parse()
    plan = Plan(
        fault_seconds=options.minutes * 60,
        seed=options.seed,
        drain_seconds=options.drain_seconds,
        faults=options.fault,
        overlays=[MUTANTS / f"{options.mutant}.sql"] if options.mutant else [],
    )
    folder = Path(tempfile.mkdtemp(prefix="lf-worker-chaos-", dir=default_test_directory()))
    is_well = False
    try:
        _say(f"Seed {plan.seed}, {options.minutes:g} minutes of faults.")
        summary = summarise(plan, run(plan, folder, _say), mutant=options.mutant)
        is_well = summary["ok"]
    finally:
        if not is_well:
            _keep_logs(folder)
        shutil.rmtree(folder)
    print(json.dumps(summary, indent=None if options.json else 2))
    return 0 if summary["ok"] else 1


def _keep_logs(folder: Path) -> None:
    shutil.rmtree(LOG_FOLDER, ignore_errors=True)
    LOG_FOLDER.mkdir(parents=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, LOG_FOLDER)
    _say(f"The logs are in {LOG_FOLDER}.")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long faults go on")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--drain-seconds", type=float, default=DRAIN_SECONDS)
    parser.add_argument("--fault", action="append", default=[], choices=sorted(FAULTS), help="only this one")
    parser.add_argument("--mutant", choices=sorted(path.stem for path in MUTANTS.glob("*.sql")))
    parser.add_argument("--json", action="store_true", help="print the summary on one line")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
