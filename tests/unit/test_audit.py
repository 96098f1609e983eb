"""What `make check` says of known vulnerabilities, by what pip-audit answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "audit.py"
FINE = {"name": "a", "version": "1", "vulns": []}
ILL = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


def audit(*command: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *command], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.strip()


def answering(*packages: dict[str, Any]) -> list[str]:
    return [sys.executable, "-c", f"print({json.dumps({'dependencies': packages})!r})"]


def test_a_vulnerability_fails_the_check() -> None:
    code, said = audit(*answering(FINE, ILL))
    assert code == 1
    assert "b 2: CVE-1, mended in 3" in said


def test_none_is_fine_and_what_could_not_be_asked_is_told() -> None:
    code, said = audit(*answering(FINE, UNKNOWN))
    assert (code, said) == (0, "audit: 0 known vulnerabilities in 1 packages, 1 could not be asked about")


@pytest.mark.parametrize(
    "command",
    [answering(UNKNOWN), [sys.executable, "-c", "raise SystemExit(1)"], ["/no/such/program"]],
    ids=["nothing known", "no network", "not installed"],
)
def test_without_the_service_it_is_skipped_in_one_line(command: list[str]) -> None:
    code, said = audit(*command)
    assert code == 0
    assert said.startswith("audit: skipped")
    assert "\n" not in said
