"""Ask for known vulnerabilities of the pinned dependencies, and say in one line what came of it.

The arguments are the command that asks, pip-audit with JSON as its format. Exit code 1 means that there are
some; where the service can't be asked, wholly or for a package, that is said and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

#: The whole question; a network that swallows requests must not hold up a check.
TIMEOUT_SECONDS = 90


def main(command: list[str]) -> int:
    """Run the command, print the line, and return the exit code."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError, TypeError):
        print("audit: skipped, the service that knows vulnerabilities can't be asked from here")
        return 0
    asked = [package for package in packages if "skip_reason" not in package]
    found = [words for package in asked for words in _vulnerabilities(package)]
    for words in found:
        print("audit:", words)
    if not asked:
        print("audit: skipped, the service that knows vulnerabilities can't be asked from here")
    else:
        unknown = len(packages) - len(asked)
        rest = f", {unknown} could not be asked about" if unknown else ""
        print(f"audit: {len(found)} known vulnerabilities in {len(asked)} packages{rest}")
    return 1 if found else 0


def _vulnerabilities(package: dict[str, Any]) -> list[str]:
    return [
        f"{package['name']} {package['version']}: {each['id']}, mended in "
        + (", ".join(each.get("fix_versions") or ()) or "no version yet")
        for each in package.get("vulns", ())
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
