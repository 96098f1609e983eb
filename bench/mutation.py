"""How many deliberate faults the tests notice: `python -m bench.mutation [--json] [--quick] [--only M]`.

mutmut changes one thing at a time in the modules that `[tool.mutmut]` of pyproject.toml names, and runs the
tests that reach it. A change that no test reaches counts as unnoticed. Exit code 1 if a module is below its
goal.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.command import parser, run_and_show
from bench.fleet import ROOT
from bench.report import Figures, at_least, goals_met
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
    command = parser(__doc__, quick="one small module")
    command.add_argument("--only", metavar="MODULE", help="one module, such as app.claims")
    options = command.parse_args()
    only = options.only or ("app.backoff" if options.quick else None)
    report = run_and_show(lambda: run(only=only), as_json=options.json)
    raise SystemExit(0 if report["modules"] and all(goals_met(report)) else 1)


if __name__ == "__main__":
    main()
