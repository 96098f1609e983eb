"""What a database's schema consists of, in the words of pg_dump."""

from __future__ import annotations

import re
import subprocess

from app.local.binaries import find_binaries

#: The comment that pg_dump puts before everything it dumps.
_HEAD = re.compile(r"(?m)^--\n-- (?=Name: )")
_OUR_TRIGGER = re.compile(r"Type: TRIGGER;.*EXECUTE FUNCTION worker\.\w+\(", re.DOTALL)


def dump_platform(dsn: str) -> list[str]:
    """Every object outside our schemas with owner and grants, sorted; our triggers too.

    pg_dump's own order depends on what depends on what, and so on objects that are left out.
    """
    done = subprocess.run(
        [
            find_binaries().program("pg_dump"),
            "--schema-only",
            "--exclude-schema=worker",
            "--exclude-schema=dramatiq",
            f"--dbname={dsn}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    # The head holds settings of the session and a random word, the tail its repetition.
    _, *entries = _HEAD.split(done.stdout)
    return sorted(
        entry.partition("\n--\n-- PostgreSQL database dump complete")[0].strip() for entry in entries
    )


def is_our_trigger(entry: str) -> bool:
    """Whether it is a trigger that calls a function of the schema `worker`."""
    return bool(_OUR_TRIGGER.search(entry))
