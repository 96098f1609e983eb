"""Which functions of the platform the worker calls, read off its own statements."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

#: Rooms whose statements call the platform by unqualified name.
_ROOMS = ("app.platform", "app", "actors", "schedules")
_CALL = re.compile(r"((?:\b[a-z]+\.)?\bfn_[a-z_]+)\(")


@lru_cache(maxsize=1)
def called_functions() -> frozenset[str]:
    """The names of all functions called, with their schema where the statement gives one."""
    return frozenset(
        name
        for room in _ROOMS
        for module in files(room).iterdir()
        if module.name.endswith(".py")
        for name in _CALL.findall(module.read_text(encoding="utf-8"))
    )
