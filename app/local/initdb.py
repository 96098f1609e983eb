"""Make a PostgreSQL cluster in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from app.errors import DatabaseError
from app.local.identity import Runner


def make_cluster(data_dir: Path, runner: Runner, *, password: str, durable: bool) -> None:
    """Run initdb beside the final folder, so that a half-made cluster is never taken for a whole one.

    The superuser is `postgres`; every connection needs the password. Text is UTF-8 and sorts by code point.
    """
    fresh = data_dir.with_name(data_dir.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    runner.give(fresh)
    folder = os.open(fresh, os.O_RDONLY)
    try:
        with tempfile.NamedTemporaryFile("w") as secret:
            secret.write(password)
            secret.flush()
            runner.give(Path(secret.name))
            arguments = [f"--pwfile={secret.name}", *_arguments(runner.binaries.major, durable=durable)]
            done = subprocess.run(
                runner.command("initdb", "-D", runner.path_through(folder, fresh), *arguments),
                pass_fds=[folder],
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
    finally:
        os.close(folder)
    if done.returncode != 0:
        raise DatabaseError(f"initdb failed: {last_lines(done.stderr)}")
    if data_dir.exists():
        _remove_empty(data_dir)
    fresh.rename(data_dir)


def check_version(data_dir: Path, major: int) -> None:
    """Refuse a cluster that another major version of PostgreSQL made."""
    found = (data_dir / "PG_VERSION").read_text().strip()
    if found != str(major):
        raise DatabaseError(
            f"{data_dir} was made by PostgreSQL {found} and this is {major}: "
            "remove the folder to begin anew, or set WORKER_PG_BIN"
        )


def last_lines(text: str) -> str:
    """The end of what a program said, as one line for an error message."""
    return " | ".join(text.strip().splitlines()[-5:]) or "it said nothing"


def _arguments(major: int, *, durable: bool) -> list[str]:
    arguments = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]
    if major >= 17:  # the built-in provider is new in 17: Unicode-aware lower() on every system
        arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return arguments if durable else [*arguments, "--no-sync"]


def _remove_empty(data_dir: Path) -> None:
    try:
        data_dir.rmdir()
    except OSError:
        raise DatabaseError(f"{data_dir} is neither empty nor a PostgreSQL cluster") from None
