"""Read a Procfile: one process type a line, `name: command`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from app.errors import SettingsError

#: The process type that runs once before all others and has to end well.
RELEASE = "release"

_LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*)")


@dataclass(frozen=True)
class ProcessType:
    """One line of a Procfile: a program with its arguments, which may use $VARIABLES of its environment."""

    name: str
    command: str


def repository_procfile() -> Path:
    """The Procfile beside the package, which the platforms run too."""
    return Path(__file__).resolve().parents[2] / "Procfile"


def read_procfile(path: Path) -> list[ProcessType]:
    """The process types in the file's order; blank lines and lines that begin with # are skipped.

    Raises `SettingsError` when the file is missing, a line has another form, or a name appears twice.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None
    types: dict[str, ProcessType] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise SettingsError(f"{path} line {number} is not `name: command`")
        if found["name"] in types:
            raise SettingsError(f"{path} line {number} repeats {found['name']}")
        types[found["name"]] = ProcessType(found["name"], found["command"])
    return list(types.values())
