"""Look at the demo's stack with commands of lf-worker, the way a person or a monitor would."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from app.cli.demo.display import Display
from app.errors import WorkerError
from app.local.stack import Stack

#: A command that takes longer is broken off.
TIMEOUT_SECONDS = 60

#: What the doctor warns of on the demo's database, and by what the demo has brought it about.
EXPECTED_WARNINGS = {
    "dead letters": "jobs that were made to fail",
    "prices": "models of the demo's own, which have no price",
    "templates": "the broken template",
    "votes": "the rigged votes, whose results are held",
    "workers": "the worker that was killed",
}

#: Where the report about the demo is written, in the folder it is started in, and what it is about.
REPORT = Path(".lf-worker") / "report.html"
REPORT_HOURS = 0.1


class CommandFailedError(WorkerError):
    """A command about the demo's stack found something wrong, or could not be run."""


class _Finding(BaseModel):
    area: str
    level: Literal["fine", "warning", "broken"]
    what: str


class _Findings(BaseModel):
    findings: list[_Finding]


def look_with_commands(stack: Stack, display: Display, width: int | None) -> dict[str, Any]:
    """Run doctor, status and report, show what they say in `width` columns, or return it for programs.

    Raises `CommandFailedError` when one fails, or the doctor finds what the demo has not brought about.
    """
    path = REPORT.absolute()
    # The commands run in the demo's own folder, which is gone afterwards.
    report = f"report --hours {REPORT_HOURS} --out {shlex.quote(str(path))}"
    status = "status --json" if width is None else "status"
    with ThreadPoolExecutor() as pool:
        examined = pool.submit(run_command, "doctor --json", 2, stack)
        counted = pool.submit(run_command, status, 0, stack, width or 80)
        written = pool.submit(run_command, report, 0, stack)
    return {
        "doctor": _show_findings(examined.result(), display),
        "status": _show_status(counted.result(), display, as_json=width is None),
        "report": _show_report(written.result(), path, display),
    }


def run_command(name: str, worst_code: int, stack: Stack, width: int = 80) -> str:
    """What `lf-worker <name>` prints of the stack's database; the name may be followed by options.

    Raises `CommandFailedError` with the output when the exit code is worse than `worst_code`.
    """
    try:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("lf-worker")), *shlex.split(name)],
            cwd=stack.directory,
            env={**stack.environment, "COLUMNS": str(width)},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailedError(f"lf-worker {name} did not end within {TIMEOUT_SECONDS} s") from None
    if not 0 <= done.returncode <= worst_code:
        raise CommandFailedError(f"lf-worker {name} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def _show_findings(printed: str, display: Display) -> dict[str, Any]:
    display.heading("lf-worker doctor", "Is anything wrong with the database, the processes or the work?")
    try:
        found = _Findings.model_validate_json(printed).findings
    except ValidationError as error:
        raise CommandFailedError(f"lf-worker doctor printed {printed!r}: {error}") from None
    wrong = [one for one in found if one.level != "fine"]
    unexpected = [one for one in wrong if one.level == "broken" or one.area not in EXPECTED_WARNINGS]
    if unexpected:
        lines = "; ".join(f"{one.area}: {one.what}" for one in unexpected)
        raise CommandFailedError(f"lf-worker doctor found: {lines}")
    counts = {"fine": len(found) - len(wrong), "warnings": dict(Counter(one.area for one in wrong))}
    display.say(f"{counts['fine']:3} checks are fine")
    for area, count in Counter(one.area for one in wrong).items():
        display.say(f"{count:3} {'warning' if count == 1 else 'warnings'}: {EXPECTED_WARNINGS[area]}")
    return counts


def _show_status(printed: str, display: Display, *, as_json: bool) -> Any:
    display.heading("lf-worker status", "What was done in this hour, by whom, and with which providers?")
    if as_json:
        return json.loads(printed)
    display.quote(printed)
    return None


def _show_report(printed: str, path: Path, display: Display) -> str:
    display.heading("lf-worker report", "The same as a page with times, costs and dead letters.")
    if not path.is_file() or "</html>" not in path.read_text(encoding="utf-8"):
        raise CommandFailedError(f"lf-worker report printed {printed!r}, and {REPORT} is not whole")
    display.say(f"written to {REPORT}")
    return str(path)
