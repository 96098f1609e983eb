"""How many deliberate faults the tests notice: `python -m bench.mutation [--json] [--quick] [--only M]`.

mutmut changes one thing at a time in the modules that `[tool.mutmut]` of pyproject.toml names, and runs the
tests that reach it. A change that no test reaches counts as unnoticed. Exit code 1 if a module is below its
goal.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from app.cli.signals import stops_in_order
from bench.fleet import ROOT
from bench.report import Figures, at_least, goals_met, show
from tests.databases import SERVER_VARIABLE, running_server

GOAL_PERCENT = 85

#: Where mutmut keeps the changed code and, beside each file, how each change fared.
FOLDER = ROOT / "mutants"

#: Exit codes of a change that nobody noticed: the tests passed, or there is none.
_UNNOTICED = (0, 33)


def run(*, only: str | None) -> Figures:
    """Make every change, or those to one module (`app.backoff`), and return the scores."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    with running_server() as dsn:
        command = [str(Path(sys.executable).parent / "mutmut"), "run", "--max-children", str(os.cpu_count())]
        environment = {**os.environ, SERVER_VARIABLE: dsn}
        subprocess.run(
            command + ([f"{only}.*"] if only else []),
            cwd=ROOT,
            env=environment,
            stdout=sys.stderr,
            check=False,
        )
    return {"modules": [scores for meta in sorted(FOLDER.rglob("*.py.meta")) if (scores := _scores(meta))]}


def _scores(meta: Path) -> Figures | None:
    codes = json.loads(meta.read_text())["exit_code_by_key"].values()
    fared = Counter("unnoticed" if code in _UNNOTICED else "noticed" for code in codes if code is not None)
    if not fared.total():
        return None
    return {
        "module": str(meta.relative_to(FOLDER)).removesuffix(".meta"),
        "changes": fared.total(),
        "noticed_percent": at_least(100 * fared["noticed"] / fared.total(), GOAL_PERCENT, 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--quick", action="store_const", const="app.backoff", help="one small module")
    parser.add_argument("--only", metavar="MODULE", help="one module, such as app.claims")
    options = parser.parse_args()
    with stops_in_order():
        report = run(only=options.only or options.quick)
    show(report, as_json=options.json)
    raise SystemExit(0 if report["modules"] and all(goals_met(report)) else 1)


if __name__ == "__main__":
    main()
