"""The memory of this process: how much it has, how much it may have, and giving back what is free."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import os
import sys
import threading
import time
from functools import cache
from pathlib import Path

#: Freed memory is given back to the system so often at most: that takes some milliseconds.
GIVE_BACK_SECONDS = 5.0

_CGROUP = Path("/sys/fs/cgroup")
#: Where the limit of a container stands: cgroups of version 2, then 1.
_LIMITS = (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes")
#: Version 1 writes a number near 2 ** 63 for no limit.
_NO_LIMIT_BYTES = 1 << 60

_guard = threading.Lock()
_given_back_at = 0.0


def resident_bytes() -> int | None:
    """What this process has in memory; None where the system doesn't say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def machine_limit_bytes() -> int | None:
    """What all processes of this container may have together; None where there is no limit."""
    for path in _LIMITS:
        try:
            limit = path.read_text().strip()
        except OSError:
            continue
        if limit.isdigit() and int(limit) < _NO_LIMIT_BYTES:
            return int(limit)
    return None


def give_back() -> None:
    """Give free memory back to the system, which glibc keeps for the threads that had it."""
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def give_back_soon() -> None:
    """The same, unless it was done just now."""
    global _given_back_at  # noqa: PLW0603 - one per process, like its memory
    with _guard:
        if time.monotonic() - _given_back_at < GIVE_BACK_SECONDS:
            return
        _given_back_at = time.monotonic()
    give_back()


@cache
def _malloc_trim() -> ctypes._NamedFuncPointer | None:
    """glibc's own function; other C libraries have none."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
